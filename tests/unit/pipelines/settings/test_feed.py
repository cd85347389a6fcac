"""The settings of `pubner feed`."""

from pathlib import Path

import pytest

from pipelines.settings.feed import FeedSettings
from schemas.errors import SettingsError
from tests.support.settings import parse_settings


def parsed(*words: str) -> FeedSettings:
    return parse_settings(
        FeedSettings,
        ["--brokers=a:1", *words],
        prog="pubner feed",
        description="",
        positional="inputs",
    )


def test_places() -> None:
    settings = parsed("--topic=t", "a.xml", "b,c.xml")
    assert settings.inputs == ("a.xml", "b,c.xml")
    assert settings.dead_letter_root == "t-feed-dead-letters"
    assert settings.state_file == Path("t-feed-dead-letters/feed-state.json")
    away = parsed("--topic=t", "--dead-letters=s3://b/p")
    assert away.state_file == Path("t-feed-state.json")
    assert parsed("--topic=t", "--dead-letters=file:///d").state_file == Path("/d/feed-state.json")
    assert parsed("--topic=t", "--dead-letters=d", "--state=x/s").state_file == Path("x/s")


@pytest.mark.parametrize("topic", ["", "a b", "é", ".", "..", "a/b", "x" * 250])
def test_what_is_no_topic(topic: str) -> None:
    with pytest.raises(SettingsError, match="topic"):
        parsed(f"--topic={topic}")


def test_numbers_of_a_topic_that_is_not_created() -> None:
    with pytest.raises(SettingsError, match="--partitions needs --create-topic"):
        parsed("--topic=t", "--partitions=3")
    assert parsed("--topic=t", "--partitions=3", "--create-topic").partitions == 3
    with pytest.raises(SettingsError, match="partitions"):
        parsed("--topic=t", "--partitions=0", "--create-topic")
