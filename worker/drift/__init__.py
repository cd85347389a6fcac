"""Drift detection: a checkpoint's output, tallied and compared with its drift reference."""
