"""Other ways to run the same checkpoint, one module per library."""
