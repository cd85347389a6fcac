"""Beam's runners: their options, their jobs, and the servers that they need."""
