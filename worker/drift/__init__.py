"""Drift: what a checkpoint finds, counted, and compared with its reference."""
