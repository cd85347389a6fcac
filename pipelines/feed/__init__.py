"""The feed: publishes files to a Kafka topic; records that cannot be sent become dead letters."""
