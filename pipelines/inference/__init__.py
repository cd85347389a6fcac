"""Inference: the model handler, the tagger shared by its threads, and drift metrics."""
