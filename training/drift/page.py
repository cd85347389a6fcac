"""The drift of an output as one HTML page that needs nothing else."""

from pathlib import Path

from training.drift.plots import drift_svg
from training.drift.report import CheckpointReport, DriftReport
from training.drift.words import change_word, excess_word, no_warnings_words, share_word
from training.reports.pages import page_environment, write_text

TEMPLATE = "drift.html.j2"


def write_page(report: DriftReport, path: Path) -> None:
    """Write the page to `path`, whole or not at all; parent folders are made.

    :raises OutputError: if it cannot be written.
    """
    write_text(path, render_page(report))


def render_page(report: DriftReport) -> str:
    """Return the page as HTML: style and plots within, no script, nothing to load."""
    from markupsafe import Markup

    def plot(one: CheckpointReport) -> Markup:
        # What comes from the output, its ids and heads, matplotlib escapes.
        return Markup(drift_svg(one, report.limits))  # noqa: S704

    environment = page_environment("training.drift")
    return environment.get_template(TEMPLATE).render(
        report=report,
        limits=report.limits,
        plot=plot,
        no_warnings=no_warnings_words(report),
        change=change_word,
        excess=lambda drift: excess_word(drift, report.limits),
        share=share_word,
    )
