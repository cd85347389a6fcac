"""Offline training: corpora, the loop, evaluation, export."""
