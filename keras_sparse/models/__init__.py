"""Whole models: summaries, pruning, plots and export."""
