"""Trainings that keep masks: the optimizer wrapper, its methods, schedules and callbacks."""
