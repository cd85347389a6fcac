"""The graphs: what Beam runs, and how its elements are encoded."""
