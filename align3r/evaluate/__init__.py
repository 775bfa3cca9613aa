"""How good a reconstruction is: metrics, readers of ground truth, scores."""
