"""The global aligner: pair predictions in, one scene out."""
