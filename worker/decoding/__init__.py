"""Decoding: from tag scores to mentions with calibrated probabilities."""
