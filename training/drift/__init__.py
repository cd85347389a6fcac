"""Drift of an output: what each checkpoint found on each day, beside what it is known to find."""
