"""The embedded predictor: no network, no download."""
