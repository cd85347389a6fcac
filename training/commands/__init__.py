"""The commands: from arguments to an exit code; heavy modules are imported only to do the work."""
