"""A rich console that shows control characters as escapes."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from worker.cli.terminal import safe_text


class SafeConsole(Console):
    """A rich console; printed text cannot control the terminal, only rich's own styles can."""

    def on_broken_pipe(self) -> None:
        """Let the command handle a closed output.

        :raises BrokenPipeError: always; rich would end the process.
        """
        raise BrokenPipeError

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with control characters in the text of each segment escaped."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(safe_text(text, lines=True), style)
