"""A console of rich's that shows control characters as escapes."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from worker.cli.terminal import safe_text


class SafeConsole(Console):
    """Prints as rich does; no text that is printed can drive the terminal, only rich's styles."""

    def on_broken_pipe(self) -> None:
        """Leave it to the command what becomes of an output that nobody reads any more.

        :raises BrokenPipeError: always, where rich would end the process.
        """
        raise BrokenPipeError

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with the text of each segment made safe."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(safe_text(text, lines=True), style)
