"""The drift of an output as one HTML page that needs nothing else."""

import os
from pathlib import Path

from schemas.errors import OutputError
from training.drift.plots import drift_svg
from training.drift.report import CheckpointReport, DriftReport
from training.drift.words import change_word, excess_word, no_warnings_words, share_word

TEMPLATE = "drift.html.j2"


def write_page(report: DriftReport, path: Path) -> None:
    """Write the page to `path`, whole or not at all; parent folders are made.

    :raises OutputError: if it cannot be written.
    """
    content = render_page(report)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def render_page(report: DriftReport) -> str:
    """Return the page as HTML: style and plots within, no script, nothing to load."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def plot(one: CheckpointReport) -> Markup:
        # What comes from the output, its ids and heads, matplotlib escapes.
        return Markup(drift_svg(one, report.limits))  # noqa: S704

    environment = Environment(
        loader=PackageLoader("training.drift", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment.get_template(TEMPLATE).render(
        report=report,
        limits=report.limits,
        plot=plot,
        no_warnings=no_warnings_words(report),
        change=change_word,
        excess=lambda drift: excess_word(drift, report.limits),
        share=share_word,
    )
