"""The arithmetic of masks: densities, scores, mask updates, initial masks, structures (NumPy only)."""
