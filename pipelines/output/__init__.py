"""Outputs: the stores that hold a data set, and how its blocks are written and read."""
