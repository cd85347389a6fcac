"""Recipes: the hyperparameters of training runs."""
