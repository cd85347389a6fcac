"""Code shared by all commands: options, console output, progress, signals."""
