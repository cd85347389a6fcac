"""Checkpoints on disk: found, verified, loaded, written."""
