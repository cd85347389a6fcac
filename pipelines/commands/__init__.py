"""The commands: what a user sees of a run."""
