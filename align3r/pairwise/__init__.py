"""Predictors of pair point maps behind one protocol."""
