"""Why a store gave nothing, in words of its own and not in Beam's."""

from typing import Any, Final

_ADVICE: Final = {
    "s3": "check the bucket, AWS_ENDPOINT_URL, and the credentials: AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY, or a profile",
    "gs": "check the bucket, and the credentials: GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth "
    "application-default login`",
}


def store_reason(url: str, error: BaseException) -> str:
    """Return what is behind an error of Beam's file systems, and what to check, on one line."""
    inner = _innermost(error)
    said = " ".join(str(inner).split()).rstrip(".") or type(inner).__name__
    advice = _ADVICE.get(url.partition("://")[0], "check the URL and what it is reached with")
    return f"{said}; {advice}"


def _innermost(error: BaseException) -> BaseException:
    """Return the first error that an error of Beam's stands for, through all that wrap it."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        details: Any = getattr(error, "exception_details", None) or {}
        wrapped = [x for x in details.values() if isinstance(x, BaseException)]
        error = next(iter(wrapped), error.__cause__ or error)
    return error
