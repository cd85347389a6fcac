"""Preprocessing of texts: characters, word pieces, windows, packed batches, offsets."""
