"""The drift report as one self-contained HTML page."""

from pathlib import Path

from training.drift.plots import drift_svg
from training.drift.report import CheckpointReport, DriftReport
from training.drift.words import change_text, excess_text, no_warnings_text, percent_text
from training.reports.pages import page_environment, write_text

TEMPLATE = "drift.html.j2"


def write_page(report: DriftReport, path: Path) -> None:
    """Write the page to `path` atomically, creating parent folders.

    :raises OutputError: if it cannot be written.
    """
    write_text(path, render_page(report))


def render_page(report: DriftReport) -> str:
    """Return the page as HTML, with inline style and plots and no script or external resource."""
    from markupsafe import Markup

    def plot(one: CheckpointReport) -> Markup:
        # Text from the output (ids, heads) is escaped by matplotlib.
        return Markup(drift_svg(one, report.limits))  # noqa: S704

    environment = page_environment("training.drift")
    return environment.get_template(TEMPLATE).render(
        report=report,
        limits=report.limits,
        plot=plot,
        no_warnings=no_warnings_text(report),
        change=change_text,
        excess=lambda drift: excess_text(drift, report.limits),
        share=percent_text,
    )
