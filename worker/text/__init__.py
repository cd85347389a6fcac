"""Texts as models read them: tokens, windows, packed batches, offsets in the original."""
