"""The commands: argument parsing, summaries and exit codes."""
