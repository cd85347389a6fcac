"""Error messages for failures of Beam's file systems: the store's own message, and advice."""

from typing import Any, Final

_ADVICE: Final = {
    "s3": "check the bucket, AWS_ENDPOINT_URL, and the credentials: AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or a profile",
    "gs": "check the bucket, and the credentials: GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth "
    "application-default login`",
}


def store_reason(url: str, error: BaseException) -> str:
    """Return the cause of an error of Beam's file systems, and what to check, on one line."""
    inner = _innermost(error)
    message = " ".join(str(inner).split()).rstrip(".") or type(inner).__name__
    advice = _ADVICE.get(url.partition("://")[0], "check the URL and the credentials")
    return f"{message}; {advice}"


def _innermost(error: BaseException) -> BaseException:
    """Return the root cause of an error of Beam, which may be wrapped several times."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        details: Any = getattr(error, "exception_details", None) or {}
        wrapped = [x for x in details.values() if isinstance(x, BaseException)]
        error = next(iter(wrapped), error.__cause__ or error)
    return error
