"""How far a run is: a bar on a terminal, plain lines now and then elsewhere; on standard error."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.bar import LINE_SECONDS, REFRESH_SECONDS, line, make_bar
from pipelines.monitor import Desk


@contextmanager
def show_progress(desk: Desk, *, total_bytes: int) -> Iterator[None]:
    """Show, while the block runs, what `desk` is told of an input of `total_bytes`."""
    terminal = sys.stderr.isatty()
    ended = threading.Event()
    target = _draw_bar if terminal else _write_lines
    thread = threading.Thread(
        target=target, args=(desk, total_bytes, ended), name="pubner-progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _draw_bar(desk: Desk, total_bytes: int, ended: threading.Event) -> None:
    with make_bar("annotating") as bar:
        task = bar.add_task("", total=max(1, total_bytes), note="")
        while not ended.wait(REFRESH_SECONDS):
            done = min(desk.counts.get("input_bytes", 0), total_bytes)
            bar.update(task, completed=done, note=progress_line(desk))


def _write_lines(desk: Desk, total_bytes: int, ended: threading.Event) -> None:
    waited = 0.0
    while not ended.wait(REFRESH_SECONDS):
        waited += REFRESH_SECONDS
        if waited >= LINE_SECONDS:
            waited = 0.0
            done = desk.counts.get("input_bytes", 0)
            sys.stderr.write(line(progress_line(desk), done, total_bytes))
            sys.stderr.flush()


def progress_line(desk: Desk) -> str:
    """Return what is done so far in words."""
    if not desk.counts.get("models"):
        return "loading the model"
    seconds = desk.annotating_seconds()
    citations = desk.counts.get("citations", 0)
    passed = desk.counts.get("records_in_place", 0)
    parts = [f"{citations:,} citations"]
    if seconds > 0 and citations:
        parts.append(f"{citations / seconds:,.0f}/s")
    if passed:
        parts.append(f"{passed:,} records already in place")
    return ", ".join(parts)
