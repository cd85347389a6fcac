"""What an error of Beam, its job server or Flink says, in one line for a person."""

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
    """Return what `error` says, never nothing and never a mere sign."""
    if isinstance(error, grpc.RpcError):
        code, details = getattr(error, "code", None), getattr(error, "details", None)
        name = code().name if callable(code) else type(error).__name__
        said = (details() if callable(details) else None) or "no details given"
        return f"{name}: {_shortened(' '.join(str(said).split()))}"
    return last_words(str(error)) or type(error).__name__


def last_words(text: str) -> str:
    """Return the line of a message or a stack trace, Java's or Python's, that says what was wrong.

    In a trace of either language that is the last line that is no frame; '' where none is words.
    """
    lines = [line for line in text.splitlines() if _is_words(line)]
    if not lines:
        return ""
    last = _PREFIX.sub("", lines[-1].strip())
    known = next((words for name, words in _NAMES.items() if name in text), None)
    last = _JAVA.sub(r"\1\2", last)
    return _shortened(f"{known} ({last})" if known is not None else last)


def _is_words(line: str) -> bool:
    return _FRAME.match(line) is None and re.search(r"\w\w", line) is not None


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
