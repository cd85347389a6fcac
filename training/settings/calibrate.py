"""`pubner calibrate`: its options."""

from pathlib import Path

from pydantic import Field

from worker.cli.common_options import ComputeOptions, CorporaOptions, RegistryOptions, json_option
from worker.cli.paths import OutputPath


class CalibrateSettings(RegistryOptions, ComputeOptions, CorporaOptions):
    """The options of `pubner calibrate`."""

    checkpoint: str = Field(
        description="a checkpoint's folder, `default` for the shipped one, or one of --registry"
    )
    output: OutputPath = Field(description="folder for the calibrated copy")
    corpus: tuple[str, ...] = Field(
        (),
        description="heads to calibrate, by corpus (default: those whose corpus exists); the "
        "others are not changed",
    )
    plot: Path | None = Field(
        None, description="draw (SVG) confidence against precision, before and after"
    )
    json_file: str | None = json_option("the calibration and its errors")
