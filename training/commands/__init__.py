"""The commands: options in, an exit code out; heavy work is imported only when it begins."""
