"""Rendered sequences with exact truth: a small ray caster, scenes for it, and how they move."""
