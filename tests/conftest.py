"""Fixtures that every test may use."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Speed is measured in `make bench`, never asserted by a test.
settings.register_profile("pubner", deadline=None)
settings.load_profile("pubner")


# Whatever the tests were started by: under nohup, or in the background of a script, signals that
# they send would be ignored.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_SERVICES = frozenset({"kafka", "flink"})
_SERVICES_GROUP = "services"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, keep those together that share something costly.

    The real Kafka and the real Flink are started once, and with them lie the tests that depend on
    how long something takes; else a file's tests share its fixtures. The former are the longest
    group by far, and come first, so that nothing waits for them at the end.
    """
    groups = {item: _group(item) for item in items}
    for item, group in groups.items():
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: groups[item] != _SERVICES_GROUP)


def _group(item: pytest.Item) -> str:
    shared = _SERVICES & set(getattr(item, "fixturenames", ()))
    return _SERVICES_GROUP if shared else item.nodeid.partition("::")[0]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Give back to the garbage collector what a loaded model kept from it."""
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real development data that PUBNER_DATA names; skips where it is not set."""
    value = os.environ.get("PUBNER_DATA", "").strip()
    if not value:
        pytest.skip("PUBNER_DATA is not set: no corpora and PubMed samples to test on")
    folder = Path(value).resolve()
    if not folder.is_dir():
        pytest.fail(f"PUBNER_DATA names {folder}, which is not a folder")
    return folder
