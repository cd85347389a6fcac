"""Shared parts of reports: plots, pages, output folders and progress display."""
