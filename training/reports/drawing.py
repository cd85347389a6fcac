"""Plots as SVG: they look alike everywhere, and the same figures give the same bytes."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from training.reports.pages import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_style(salt: str = "pubner") -> AbstractContextManager[None]:
    """Return a context in which an SVG depends on what is drawn alone, and text stays text.

    :param salt: what the ids within it are made from; plots of one page need one each
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


def save_svg(figure: "Figure", path: Path) -> None:
    """Write a figure whole or not at all; parent folders are made.

    :raises OutputError: if it cannot be written.
    """
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None}, facecolor="white")
