"""Whole models: summaries, pruning, compacting, plots and files."""
