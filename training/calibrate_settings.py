"""`pubner calibrate`: its options."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from worker.command import Settings, parse_settings
from worker.devices import DeviceHere
from worker.paths import OutputPath
from worker.progress import show_loading


class CalibrateSettings(Settings):
    """The options of `pubner calibrate`."""

    checkpoint: str = Field(description="a checkpoint's folder, or `default` for the shipped one")
    output: OutputPath = Field(description="folder for the calibrated copy")
    corpus: tuple[str, ...] = Field(
        default=(),
        description="heads to calibrate, by corpus (default: those whose corpus is there); the "
        "others stay as they are",
    )
    data: Path | None = Field(
        default=None,
        description="folder of the corpora (default: PUBNER_CORPORA, else the fetch cache)",
    )
    plot: Path | None = Field(
        default=None, description="draw (SVG) confidence against precision, before and after"
    )
    device: DeviceHere = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads (default: the library's choice)"
    )
    json_file: str | None = Field(
        default=None, description="write the calibration and its errors as JSON; - for stdout"
    )


def run(argv: Sequence[str]) -> int:
    """Run `pubner calibrate`; return the exit status.

    :raises PubnerError: with one line to show.
    """
    settings = parse_settings(
        CalibrateSettings,
        argv,
        prog="pubner calibrate",
        description="Copy a checkpoint, its scores calibrated on the devel split of its corpora.",
        positional="checkpoint",
    )
    with show_loading():
        from training.calibrate_command import calibrate

    return calibrate(settings)
