"""Outputs: where a data set lies, and how its blocks are written and read."""
