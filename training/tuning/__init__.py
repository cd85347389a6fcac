"""Hyperparameter search: the space, the study, the trials, and what they show."""
