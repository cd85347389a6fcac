"""The checkpoint registry: published checkpoints, the active one, and its history."""
