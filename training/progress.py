"""What a long run shows while it goes on, and how it is asked to stop."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from training.loop import Progress


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one does."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal, and elsewhere a line every hundred steps."""
    if not sys.stderr.isatty():

        def line(now: Progress) -> None:
            if now.step % 100 == 0:
                console.print(
                    f"step {now.step:,}/{now.steps:,} epoch {now.epoch + 1} "
                    f"loss {now.loss:.4f} {now.pieces_per_second:,.0f} pieces/s"
                )

        yield line
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("{task.fields[rate]:,.0f} pieces/s"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("train", total=None, epoch=1, loss=0.0, rate=0.0)

        def show(now: Progress) -> None:
            bar.update(
                task,
                completed=now.step,
                total=now.steps,
                epoch=now.epoch + 1,
                loss=now.loss,
                rate=now.pieces_per_second,
            )

        yield show
