"""Runs: batch, stream and reannotation, from their settings to what is written."""
