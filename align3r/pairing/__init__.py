"""Which pairs of frames are looked at."""
