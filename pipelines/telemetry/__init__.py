"""Telemetry: metrics, logs, progress, and the channel between the DoFns and the command."""
