"""The checkpoint registry: published checkpoints, which of them is active, and since when."""
