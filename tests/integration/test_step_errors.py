"""An error that a step raises reaches the command whole, whatever runs the step."""

import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest

from pipelines.runners.options import choose_runner
from pipelines.runtime.batch import make_pipeline, run_to_end
from pipelines.telemetry.library_logs import quiet
from pipelines.telemetry.run_channel import WorkerChannel, open_run_channel
from schemas.errors import BrokerError, LockedError, PubnerError, RefusedRecordError

ERRORS = (
    LockedError(Path("/out/.locks/topic-0.lock"), "17"),
    BrokerError("no answer from 'ü:9092'", permanent=True),
    RefusedRecordError("ReaderError", "still no citation"),
)
"""What each carries beside its message would be lost where its class were made from the message."""


@beam.typehints.with_input_types(int)
@beam.typehints.with_output_types(int)
class Fail(beam.DoFn):
    """Raises an error, and reports it where it is `watched`."""

    def __init__(self, error: Exception, channel: WorkerChannel, *, watched: bool) -> None:
        self.error = error
        self.channel = channel
        self.watched = watched

    def process(self, element: int) -> Iterator[int]:
        """Raise."""
        if self.watched:
            with self.channel.watching():
                raise self.error
        raise self.error


def raised(error: Exception, words: list[str], *, watched: bool) -> PubnerError:
    """Run a pipeline whose step raises `error`; return what the command gets."""
    choice = choose_runner("DirectRunner", words)
    with quiet(), open_run_channel(time.monotonic) as run_channel:
        channel = run_channel.worker_side if choice.in_process else WorkerChannel()
        pipeline = make_pipeline(choice)
        step = beam.ParDo(Fail(error, channel, watched=watched))
        _ = pipeline | beam.Create([1]) | "Spread" >> beam.Reshuffle() | "Fail" >> step
        with pytest.raises(PubnerError) as caught:
            run_to_end(pipeline, run_channel, choice)
    return caught.value


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("runner", ["DirectRunner", "PrismRunner"])
def test_from_a_step_of_this_process_it_arrives_whole(
    error: PubnerError, runner: str, prism: str
) -> None:
    words = [f"--runner={runner}", f"--prism_location={prism}"]
    found = raised(error, words, watched=True)
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert found.__dict__ == error.__dict__


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("runner", ["DirectRunner", "PrismRunner"])
def test_from_a_step_that_reports_nothing_class_and_message_arrive(
    error: PubnerError, runner: str, prism: str
) -> None:
    words = [f"--runner={runner}", f"--prism_location={prism}"]
    found = raised(error, words, watched=False)
    assert (type(found), str(found)) == (type(error), str(error))


def test_an_error_of_another_kind_is_one_line(prism: str) -> None:
    for runner in ("DirectRunner", "PrismRunner"):
        words = [f"--runner={runner}", f"--prism_location={prism}"]
        watched = raised(ValueError("odd"), words, watched=True)
        assert (str(watched), watched.exit_code) == ("ValueError: odd", 1)
        other = raised(ValueError("odd"), words, watched=False)
        assert "ValueError: odd" in str(other)
        assert "\n" not in str(other)
