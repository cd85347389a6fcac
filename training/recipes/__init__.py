"""Recipes: every number that shapes a training run."""
