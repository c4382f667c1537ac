"""Measures speed, accuracy and coverage: ``python -m benchmarks.NAME`` in the repository."""
