"""Learned pair predictors: the DUSt3R family, every frame encoded once."""
