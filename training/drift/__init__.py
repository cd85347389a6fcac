"""Drift of an output: daily annotations of each checkpoint, compared with its reference."""
