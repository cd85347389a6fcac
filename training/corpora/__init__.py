"""Corpora: their catalogue, readers for word-and-tag files, windows, download and check."""
