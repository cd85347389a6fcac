"""The promotion gate: decides whether a candidate may replace the active checkpoint."""
