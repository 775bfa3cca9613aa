"""Data sets with ground truth: readers of the published formats, for evaluation and training."""
