"""The line of an error or a stack trace that says what was wrong."""

import grpc
import pytest

from pipelines.runners.reasons import last_meaningful_line, reason

JAVA = """java.lang.Exception: The user defined 'open()' method caused an exception: UNAVAILABLE
\tat org.apache.flink.runtime.operators.BatchTask.run(BatchTask.java:517)
\t... 19 more
Caused by: io.netty.channel.AbstractChannel$AnnotatedConnectException: finishConnect(..) failed
Caused by: java.net.ConnectException: finishConnect(..) failed: Connection refused
\tat org.apache.beam.Errors.newConnectException0(Errors.java:166)
\tat java.base/java.lang.Thread.run(Thread.java:840)
"""
PYTHON_IN_JAVA = """java.lang.RuntimeException: Error received from SDK harness: Traceback:
  File "/pubner/worker/checkpoint/folder.py", line 85, in read_manifest
    raise CheckpointError(
schemas.errors.CheckpointError: ck/manifest.json cannot be read [while running 'Annotate']

\tat org.apache.beam.runners.fnexecution.control.FnApiControlClient.onNext(F.java:1)
\t... 1 more
"""
LOST = """TimerException{java.lang.RuntimeException: SDK Harness connection lost.}
Caused by: java.lang.RuntimeException: SDK Harness connection lost.
\tat org.apache.beam.runners.flink.ExecutableStageDoFnOperator.finishBundle(E.java:1055)
Caused by: io.grpc.StatusRuntimeException: CANCELLED: client cancelled
\t... 14 more
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (JAVA, "ConnectException: finishConnect(..) failed: Connection refused"),
        (
            PYTHON_IN_JAVA,
            "CheckpointError: ck/manifest.json cannot be read [while running 'Annotate']",
        ),
        (
            LOST,
            "the Python worker of a step ended or was killed "
            "(StatusRuntimeException: CANCELLED: client cancelled)",
        ),
        ('<_MultiThreadedRendezvous of RPC\n\tdetails = "gone"\n>', 'details = "gone"'),
        ("a plain sentence", "a plain sentence"),
        (">", ""),
        ("", ""),
    ],
)
def test_the_line_that_says_it(text: str, words: str) -> None:
    assert last_meaningful_line(text) == words


def test_an_error_without_words_is_told_by_its_name() -> None:
    assert reason(grpc.FutureTimeoutError()) == "FutureTimeoutError"
    assert reason(RuntimeError(">")) == "RuntimeError"


def test_an_error_of_a_call_is_its_code_and_details() -> None:
    with grpc.insecure_channel("127.0.0.1:9") as channel:
        call = channel.unary_unary("/beam/Nothing")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=10)
    words = reason(caught.value)
    assert words.startswith("UNAVAILABLE: ")
    assert "127.0.0.1:9" in words
    assert "\n" not in words


def test_what_is_long_is_cut() -> None:
    assert len(last_meaningful_line("word " * 1000)) < 500
