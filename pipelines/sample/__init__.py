"""The bundled sample: PubMed XML of invented citations, which shows what real files hold."""

from importlib.resources import files
from pathlib import Path


def sample_path() -> Path:
    """Return the path of the bundled sample, `pubner-sample.xml`."""
    return Path(str(files(__name__) / "pubner-sample.xml"))
