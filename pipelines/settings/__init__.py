"""The settings of each command, checked before anything is loaded."""
