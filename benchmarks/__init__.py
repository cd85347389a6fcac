"""Benchmarks of speed, memory and agreement, side by side with other libraries."""
