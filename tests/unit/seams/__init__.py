"""Tests that add a part from a module outside the tree."""
