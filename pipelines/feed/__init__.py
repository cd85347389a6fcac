"""Files into a Kafka topic: read, sent, acknowledged; what cannot be sent becomes a dead letter."""
