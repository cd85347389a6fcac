"""The lag of a consumer group, for tests of committed offsets."""

from kafka import TopicPartition

from pipelines.kafka.access import KafkaAccess, consumer
from pipelines.kafka.topics import Cluster, begin_offsets, committed_offsets, end_offsets


def lag(access: KafkaAccess, group: str, cluster: Cluster) -> dict[TopicPartition, int]:
    """Return the number of uncommitted offsets of each partition of `cluster` for a group."""
    partitions = [
        TopicPartition(topic.name, number)
        for topic in cluster.topics.values()
        for number in topic.partitions
    ]
    client = consumer(access, group=group)
    try:
        first, end = begin_offsets(client, partitions), end_offsets(client, partitions)
        done = committed_offsets(client, partitions)
    finally:
        client.close()
    return {x: max(0, end[x] - max(done.get(x, 0), first[x])) for x in partitions}
