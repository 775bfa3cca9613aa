"""Monocular depth: depth networks, the user's own maps, point maps for the pair network."""
