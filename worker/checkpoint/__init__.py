"""Checkpoint folders on disk: find, verify, load, write."""
