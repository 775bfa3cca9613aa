"""What is measured of a sequence: one module a task."""
