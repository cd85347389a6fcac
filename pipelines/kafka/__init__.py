"""Kafka: who may connect and how, what a topic holds, and the source that reads it."""
