"""Retraining rounds: the steps from corpora to a published checkpoint, each recorded."""
