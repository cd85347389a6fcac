"""SVG plots with a common style, deterministic to the byte."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from training.reports.pages import report_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_style(salt: str = "pubner") -> AbstractContextManager[None]:
    """Return a context in which SVGs are deterministic, and text is kept as text.

    :param salt: the seed of the SVG's ids, different for each plot of a page
    """
    import matplotlib as mpl

    return mpl.rc_context(
        {
            "font.size": 9.0,
            "svg.hashsalt": salt,
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of this size in inches, without a global state of matplotlib."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_svg(figure: "Figure", path: Path) -> None:
    """Write a figure atomically, creating parent folders.

    :raises OutputError: if it cannot be written.
    """
    with report_file(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None}, facecolor="white")
