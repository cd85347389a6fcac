"""Files in, an output out: what `pubner annotate` does, as a function."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any

from pydantic import ValidationError

from pipelines.inference.checkpoints import choose_checkpoints
from pipelines.runners.preflight import check_runner_and_device
from pipelines.runtime.annotate import annotate_inputs
from pipelines.settings.annotate import AnnotateSettings
from pipelines.telemetry.library_logs import beam_logging
from pubner.outputs import Output, open_output
from schemas.errors import SettingsError
from worker.cli.progress import Meter


@dataclass(frozen=True, slots=True)
class AnnotateResult:
    """What the output holds of the inputs after a run, as its files say.

    `citations` are counted by status (`annotated`, `deleted`, `no_text`), `mentions` by head,
    `dead_letters` by the stage that failed. `annotated_now` counts the citations that this run
    wrote, `unreadable_inputs` files that could not be read now but were before.
    """

    output: str
    checkpoint_id: str
    citations: Mapping[str, int]
    mentions: Mapping[str, int]
    dead_letters: Mapping[str, int]
    annotated_now: int
    blocks: int
    blocks_written_now: int
    unreadable_inputs: int
    seconds: float
    summary: Mapping[str, Any] = field(repr=False)
    """All that `pubner annotate --json` says."""

    def open(self) -> Output:
        """Open the output for reading."""
        return open_output(self.output)


def annotate(
    inputs: str | PathLike[str] | Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    runner: str = "DirectRunner",
    checkpoint: str | Sequence[str] = "default",
    registry: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    beam_options: Sequence[str] = (),
    **settings: Any,  # noqa: ANN401 - whatever the command's options take
) -> AnnotateResult:
    """Annotate PubMed XML, PubTator or JSON lines into `output`, and return what it then holds.

    `inputs` are files, folders or globs, here or in an object store; `output` is a folder or the
    URL of one. A run that was interrupted goes on where it stopped when it is called again. With
    `registry`, `checkpoint` may be an id there; left as it is, the active one is used.
    `beam_options` are Beam's own; `settings` are the other options of `pubner annotate`, with
    underscores: `block_size=500`, `format="jsonl"`. Ctrl-C stops the run after the current chunk
    of citations (InterruptedRunError); the calling program goes on.

        >>> import tempfile, pubner
        >>> from pipelines.sample import sample_path
        >>> result = pubner.annotate(sample_path(), tempfile.mkdtemp(), threads=1)
        >>> sum(result.citations.values()) == result.annotated_now
        True

    :raises SettingsError: if a setting is unknown, or its value will not do.
    :raises PubnerError: if an input, the output, a checkpoint or the runner fails.
    """
    paths = [inputs] if isinstance(inputs, str | PathLike) else list(inputs)
    if not paths:
        raise SettingsError("inputs: no file, folder or glob was given")
    given: dict[str, Any] = {
        **settings,
        "inputs": tuple(fspath(path) for path in paths),
        "output": fspath(output),
        "runner": runner,
        "device": device,
        "threads": threads,
    }
    if registry is not None:
        given["registry"] = registry
    if registry is None or checkpoint != "default":
        given["checkpoint"] = (checkpoint,) if isinstance(checkpoint, str) else tuple(checkpoint)
    try:
        checked = AnnotateSettings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "the settings"
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{name}={first['input']!r}: {message}") from None
    check_runner_and_device(checked, beam_options)
    with beam_logging(verbose=checked.verbose):
        checkpoints = choose_checkpoints(checked)
        summary, counts, _ = annotate_inputs(
            checked, beam_options, checkpoints, Meter(), owns_process=False
        )
    return AnnotateResult(
        output=checked.output,
        checkpoint_id=checkpoints.id,
        citations=dict(counts.citations),
        mentions=counts.mentions_by_head(),
        dead_letters=dict(counts.dead_letters),
        annotated_now=summary["citations_annotated_now"],
        blocks=summary["blocks"],
        blocks_written_now=summary["blocks_written_now"],
        unreadable_inputs=summary["unreadable_inputs"],
        seconds=summary["seconds"],
        summary=summary,
    )
