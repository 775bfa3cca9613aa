"""Every file format, in and out; the only layer that touches the disk or flips an axis."""
