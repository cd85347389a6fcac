"""Inference: the model handler, the tagger that its threads share, drift metrics."""
