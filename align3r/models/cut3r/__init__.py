"""CUT3R: cameras and points of a video from a state that is stepped frame by frame."""
