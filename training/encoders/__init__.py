"""Pretrained encoders: resolving, checking and loading them."""
