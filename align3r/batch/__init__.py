"""Many videos, one Ray task each, on this machine or on a cluster."""
