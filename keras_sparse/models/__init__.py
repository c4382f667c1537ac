"""Whole models: converting them, summaries, multiply-adds, plots and export."""
