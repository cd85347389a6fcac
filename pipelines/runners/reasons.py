"""One-line messages of errors of Beam, its job server, and Flink."""

import re

import grpc

_FRAME = re.compile(r'\s*(at [\w.$/<>@]+\(|\.\.\. \d+ more|File "|Suppressed:)')
_PREFIX = re.compile(r"^(Caused by: |Exception in thread .* )")
_JAVA = re.compile(r"^(?:[a-z]\w*\.)+(?:[A-Z]\w*[.$])*([A-Z]\w*)(: |$)")
_LONGEST = 400
_NAMES = {
    "SDK Harness connection lost": "the Python worker of a step ended or was killed",
    "NoResourceAvailableException": "no free slot for a task",
}


def reason(error: BaseException) -> str:
    """Return the message of `error` in one line, which is never empty or only punctuation."""
    if isinstance(error, grpc.RpcError):
        code, details = getattr(error, "code", None), getattr(error, "details", None)
        name = code().name if callable(code) else type(error).__name__
        text = (details() if callable(details) else None) or "no details given"
        return f"{name}: {_shortened(' '.join(str(text).split()))}"
    return last_meaningful_line(str(error)) or type(error).__name__


def last_meaningful_line(text: str) -> str:
    """Return the line of a message, or of a Java or Python stack trace, that names the error.

    In a stack trace that is the last line that is not a frame; '' if no line has any words.
    """
    lines = [line for line in text.splitlines() if _is_message(line)]
    if not lines:
        return ""
    last = _PREFIX.sub("", lines[-1].strip())
    known = next((message for name, message in _NAMES.items() if name in text), None)
    last = _JAVA.sub(r"\1\2", last)
    return _shortened(f"{known} ({last})" if known is not None else last)


def _is_message(line: str) -> bool:
    return _FRAME.match(line) is None and re.search(r"\w\w", line) is not None


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
