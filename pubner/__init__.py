"""pubner annotates PubMed with genes, chemicals, diseases and cells.

    >>> import pubner
    >>> tagger = pubner.load()
    >>> [document] = tagger.annotate(["Tamoxifen is given in breast cancer."])
    >>> [(m.text, m.entity_type) for m in document.mentions if m.preferred]
    [('Tamoxifen', 'Chemical'), ('breast cancer', 'Disease')]

The names below are pubner's public interface, and all of it; every other module is private. Nothing
heavy is imported before a name is used.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pubner.outputs import Output, open_output
    from pubner.reading import read
    from pubner.registries import Registry
    from pubner.running import AnnotateResult, annotate
    from pubner.tables import to_arrow, to_pandas
    from pubner.tagging import Document, Mention, Tagger, load
    from schemas.errors import (
        CheckpointError,
        InputError,
        OutputError,
        PubnerError,
        RegistryError,
        SettingsError,
    )
    from schemas.records import Citation, DeadLetter, Section
    from worker.network.family import ModuleFamily

__all__ = [
    "AnnotateResult",
    "CheckpointError",
    "Citation",
    "DeadLetter",
    "Document",
    "InputError",
    "Mention",
    "ModuleFamily",
    "Output",
    "OutputError",
    "PubnerError",
    "Registry",
    "RegistryError",
    "Section",
    "SettingsError",
    "Tagger",
    "annotate",
    "load",
    "open_output",
    "read",
    "to_arrow",
    "to_pandas",
]

_MODULES: Final = {
    "AnnotateResult": "pubner.running",
    "annotate": "pubner.running",
    "CheckpointError": "schemas.errors",
    "InputError": "schemas.errors",
    "OutputError": "schemas.errors",
    "PubnerError": "schemas.errors",
    "RegistryError": "schemas.errors",
    "SettingsError": "schemas.errors",
    "Citation": "schemas.records",
    "DeadLetter": "schemas.records",
    "Section": "schemas.records",
    "Document": "pubner.tagging",
    "Mention": "pubner.tagging",
    "Tagger": "pubner.tagging",
    "load": "pubner.tagging",
    "Output": "pubner.outputs",
    "open_output": "pubner.outputs",
    "Registry": "pubner.registries",
    "read": "pubner.reading",
    "to_arrow": "pubner.tables",
    "to_pandas": "pubner.tables",
    "ModuleFamily": "worker.network.family",
}
"""The module that each public name comes from."""

_PACKAGES: Final = ("schemas", "worker", "pipelines", "training")
"""The private packages that are installed beside this one."""


def _refuse_shadows() -> None:
    """Make sure that pubner's private packages are pubner's.

    :raises ImportError: if a module or package of such a name comes before it on the path.
    """
    root = Path(__file__).resolve().parent.parent
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
        if found is not None and found != root / name / "__init__.py":
            raise ImportError(
                f"{found} shadows pubner's package {name!r}, which is {root / name}; rename it, or "
                "start Python in another folder"
            )


_refuse_shadows()


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _MODULES:
        raise AttributeError(f"module 'pubner' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
