"""Whole models: summaries, pruning, compacting, plots, files and export."""
