"""What every command shares: options, console, progress, signals."""
