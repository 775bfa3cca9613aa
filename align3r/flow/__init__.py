"""Dense optical flow behind one protocol."""
