"""Cluster metadata and administration: topics, partitions, offsets and consumer groups."""

import difflib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafka import TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import OffsetAndMetadata

from pipelines.kafka.access import KafkaAccess, admin
from pipelines.kafka.client import input_digest
from pipelines.kafka.errors import OTHER_MEMBERS, reporting
from schemas.errors import BrokerError, InputError

if TYPE_CHECKING:
    from kafka import KafkaAdminClient, KafkaConsumer

_SHOWN = 10
_PAUSE_SECONDS = 0.5
_LIMIT = "max.message.bytes"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its name, its partitions, and its id, which changes if the topic is recreated."""

    name: str
    id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kafka cluster's id, and some of its topics by name."""

    id: str
    topics: Mapping[str, Topic]

    def input_digest(self, topic: str) -> str:
        """Return what identifies the content of `topic` in the output's footers."""
        return input_digest(self.id, self.topics[topic].id)


def describe(access: KafkaAccess, topics: Sequence[str]) -> Cluster:
    """Return the cluster with `topics`.

    :raises InputError: if one of the topics does not exist; names those that do.
    :raises BrokerError: if the cluster does not answer.
    """
    client = admin(access)
    try:
        with reporting(access, f"look up the topics {', '.join(topics)}"):
            cluster_id = str(client.describe_cluster()["cluster_id"])
            found = {name: _describe_one(client.describe_topics([name])) for name in topics}
            missing = [name for name, topic in found.items() if topic is None]
            known = sorted(client.list_topics()) if missing else []
    finally:
        client.close()
    if missing:
        raise InputError(_unknown(access, missing[0], known))
    return Cluster(cluster_id, {name: topic for name, topic in found.items() if topic})


def create_topic(
    access: KafkaAccess,
    name: str,
    *,
    partitions: int | None = None,
    replication: int | None = None,
    configs: Mapping[str, str] | None = None,
) -> bool:
    """Create a topic unless it exists; return whether it was created.

    A number of None stands for the brokers' default. `configs` are the topic's settings.

    :raises InputError: if it exists with another number of partitions than asked for, or if the
        brokers refuse the name, a number or a setting.
    :raises BrokerError: if the cluster does not answer.
    """
    client = admin(access)
    try:
        with reporting(access, f"create topic {name!r}"):
            present = _describe_one(client.describe_topics([name]))
            if present is None:
                options = {
                    "num_partitions": partitions or -1,
                    "replication_factor": replication or -1,
                    "configs": dict(configs or {}),
                }
                [answer] = client.create_topics({name: options}, raise_errors=False)["topics"]
                error = errors.for_code(answer["error_code"])
                if error in _REFUSALS:
                    reason = answer["error_message"] or error.description
                    raise InputError(f"{access} refuses to create topic {name!r}: {reason}")
                if error not in (errors.NoError, errors.TopicAlreadyExistsError):
                    raise error(answer["error_message"] or name)
                client.wait_for_topics([name], timeout_ms=int(access.timeout_seconds * 1000))
                if error is errors.NoError:
                    return True
                present = _describe_one(client.describe_topics([name]))
    finally:
        client.close()
    if present is not None and partitions is not None and len(present.partitions) != partitions:
        raise InputError(
            f"topic {name!r} exists with {len(present.partitions)} partitions, and {partitions} "
            "were asked for; leave --partitions out to use it as it is, or name another topic"
        )
    return False


def max_message_bytes(access: KafkaAccess, topic: str) -> int | None:
    """Return the maximum bytes of a batch of `topic`; None if the permission to see it is missing.

    :raises BrokerError: if the cluster does not answer.
    """
    client = admin(access)
    try:
        with reporting(access, f"look up the settings of topic {topic!r}"):
            asked = ConfigResource(ConfigResourceType.TOPIC, topic, [_LIMIT])
            found = client.describe_configs([asked], config_filter="all")
    except BrokerError as error:
        if isinstance(error.__cause__, errors.AuthorizationError):
            return None
        raise
    finally:
        client.close()
    return int(found["topic"][topic][_LIMIT]["value"])


def begin_offsets(
    client: "KafkaConsumer", partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the first offset that each partition still holds."""
    return dict(client.beginning_offsets(list(partitions))) if partitions else {}


def end_offsets(
    client: "KafkaConsumer", partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the offset after each partition's last message.

    For a consumer that reads committed messages only, that is the last stable offset.
    """
    return dict(client.end_offsets(list(partitions))) if partitions else {}


def committed_offsets(
    client: "KafkaConsumer", partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """Return the offsets that the consumer's group committed, of the partitions that have one."""
    found = {partition: client.committed(partition) for partition in partitions}
    return {partition: offset for partition, offset in found.items() if offset is not None}


def commit(
    client: "KafkaConsumer", offsets: Mapping[TopicPartition, int], *, metadata: str = ""
) -> None:
    """Commit, for the consumer's group, the offset after the last processed message.

    `metadata` is stored with the offsets and returned by `committed_metadata`.
    """
    if offsets:
        client.commit({x: OffsetAndMetadata(offset, metadata, -1) for x, offset in offsets.items()})


def committed_metadata(
    client: "KafkaConsumer", partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, str]:
    """Return the commit metadata of the group's offsets, empty for partitions without."""
    found = {partition: client.committed(partition, metadata=True) for partition in partitions}
    return {x: "" if offset is None else str(offset.metadata) for x, offset in found.items()}


def check_group_has_no_members(access: KafkaAccess, group: str) -> None:
    """Check that `group` has no members, since the broker would refuse pubner's commits.

    Without the permission to describe the group, the check passes.

    :raises BrokerError: if it has, or if the cluster does not answer.
    """
    client = admin(access)
    try:
        with reporting(access, f"look up the members of group {group!r}"):
            found = _describe_group(client, group, seconds=access.timeout_seconds)
            members = found.get("members") or ()
    finally:
        client.close()
    if members:
        who = ", ".join(sorted({f"{x['client_id']} at {x['client_host']}" for x in members}))
        raise BrokerError(
            f"{access}: group {group!r} has members ({who}): {OTHER_MEMBERS}", permanent=True
        )


def _describe_group(client: "KafkaAdminClient", group: str, *, seconds: float) -> Mapping[str, Any]:
    """Describe a group; wait for a coordinator that is not available yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found: Mapping[str, Any] = client.describe_groups([group])[group]
            return found
        except _NO_COORDINATOR:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


_NO_COORDINATOR = (
    errors.CoordinatorLoadInProgressError,
    errors.CoordinatorNotAvailableError,
    errors.NotCoordinatorError,
)
_REFUSALS = (
    errors.InvalidTopicError,
    errors.InvalidPartitionsError,
    errors.InvalidReplicationFactorError,
    errors.InvalidConfigurationError,
    errors.PolicyViolationError,
    errors.InvalidRequestError,
)


def _describe_one(described: Sequence[Mapping[str, Any]]) -> Topic | None:
    """Return the topic of one answer; None if it does not exist.

    :raises KafkaError: on any other error of the broker.
    """
    [topic] = described
    code = topic["error_code"]
    if code in (errors.UnknownTopicOrPartitionError.errno, errors.InvalidTopicError.errno):
        return None
    if code:
        raise errors.for_code(code)(str(topic["name"]))
    return Topic(
        name=str(topic["name"]),
        id=str(topic["topic_id"]),
        partitions=tuple(sorted(int(part["partition_index"]) for part in topic["partitions"])),
    )


def _unknown(access: KafkaAccess, name: str, known: Sequence[str]) -> str:
    shown = [topic for topic in known if not topic.startswith("__")]
    near = difflib.get_close_matches(name, shown, n=_SHOWN)
    rest = [topic for topic in shown if topic not in near]
    listed = (near + rest)[:_SHOWN]
    more = f" and {len(shown) - len(listed)} more" if len(shown) > len(listed) else ""
    there = f"known are {', '.join(listed)}{more}" if listed else "it holds no topic"
    return f"{access} has no topic {name!r}; {there} (`pubner feed --create-topic` makes one)"
