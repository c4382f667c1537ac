"""The arithmetic of masks: densities, scores, updates, initial masks, structures (NumPy only)."""
