"""Encoders to begin from: found, checked, loaded."""
