"""Pure functions: cameras, rigid motions, robust statistics."""
