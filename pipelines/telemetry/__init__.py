"""Telemetry: metrics, logs, progress, and the channel from the steps to the command."""
