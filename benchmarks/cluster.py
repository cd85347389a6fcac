"""A Flink cluster that starts in the background."""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.root import ROOT
from tests.support.services import Flink


@dataclass(frozen=True, slots=True)
class Starting:
    """A starting cluster."""

    flink: Flink
    up: Future[str]

    def options(self) -> Sequence[str]:
        """Wait until it is up; return the pipeline options to use it.

        :raises RuntimeError: if it cannot be started here.
        """
        try:
            self.up.result()
        except AssertionError as error:
            raise RuntimeError(str(error).strip() or "Flink did not start") from error
        return self.flink.options


@contextlib.contextmanager
def flink_cluster(folder: Path, *, wanted: bool) -> Iterator[Starting | None]:
    """Start two TaskManagers of one slot, so that each slot has a separate Python process."""
    if not wanted:
        yield None
        return
    flink = Flink(folder)
    with ThreadPoolExecutor(1) as pool:
        up = pool.submit(
            flink.up,
            "--taskmanagers=2",
            "--slots=1",
            environment={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        try:
            yield Starting(flink, up)
        finally:
            with contextlib.suppress(AssertionError):
                up.result()
            with contextlib.suppress(AssertionError):
                flink.down()
