"""`pubner calibrate`: its options."""

from pathlib import Path

from pydantic import Field

from worker.cli.common_options import ComputeOptions, RegistryOptions
from worker.cli.paths import OutputPath


class CalibrateSettings(RegistryOptions, ComputeOptions):
    """The options of `pubner calibrate`."""

    checkpoint: str = Field(
        description="a checkpoint's folder, `default` for the shipped one, or one of --registry"
    )
    output: OutputPath = Field(description="folder for the calibrated copy")
    corpus: tuple[str, ...] = Field(
        default=(),
        description="heads to calibrate, by corpus (default: those whose corpus exists); the "
        "others are not changed",
    )
    data: Path | None = Field(
        default=None,
        description="folder of the corpora (default: PUBNER_CORPORA, else the fetch cache)",
    )
    plot: Path | None = Field(
        default=None, description="draw (SVG) confidence against precision, before and after"
    )
    json_file: str | None = Field(
        default=None, description="write the calibration and its errors as JSON; - for stdout"
    )
