"""What people look at: pictures, the viewer, scene.html. Imports no torch."""
