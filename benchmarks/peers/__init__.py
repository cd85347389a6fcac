"""Other ways to run the same checkpoint, a module a library."""
