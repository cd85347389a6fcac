"""What Beam's file systems wrap in their own errors."""

import pytest
from apache_beam.io.filesystem import BeamIOError

from pipelines.output.reasons import store_reason

INNER = ValueError("Unable to locate\n credentials.")


@pytest.mark.parametrize(
    "error",
    [
        INNER,
        BeamIOError("Match operation failed", {"s3://b/x": INNER}),
        BeamIOError("Match", {"s3://b/x": BeamIOError("exists() failed", {"s3://b/x": INNER})}),
    ],
)
def test_the_first_error_is_said_without_what_wraps_it(error: Exception) -> None:
    found = store_reason("s3://b/x", error)
    assert found.startswith("Unable to locate credentials; check the bucket, AWS_ENDPOINT_URL")
    assert "Match" not in found
    assert "{" not in found


def test_an_error_that_is_its_own_cause_ends() -> None:
    error = BeamIOError("odd", {})
    error.__cause__ = error
    assert store_reason("hdfs://b/x", error).startswith("odd")
