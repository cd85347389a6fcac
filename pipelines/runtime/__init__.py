"""Runs of pipelines: batch, stream and reannotation."""
