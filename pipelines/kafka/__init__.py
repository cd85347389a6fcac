"""Kafka access: clients and authentication, topic metadata, and the unbounded source."""
