"""Hyperparameter search: the space, the study, the trials, and their plots."""
