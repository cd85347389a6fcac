"""Blocks: what they are called, what they hold, and their rows as Arrow tables."""
