"""Fine-tuning of pair and multi-view networks, as in Fin3R (arXiv 2511.22429)."""
