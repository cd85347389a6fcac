"""The implementation of the commands: from options to output files and terminal output."""
