"""Corpora: catalogue, readers of word-and-tag files, windows, download and validation."""
