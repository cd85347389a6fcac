"""`python -m experiments`: its options, validated before heavy imports."""

from pathlib import Path

from pydantic import Field

from schemas.errors import SettingsError
from training.encoders.names import MINILM
from worker.cli.command import Settings, command
from worker.cli.devices import DeviceHere


class ExperimentSettings(Settings):
    """Options of `python -m experiments`."""

    output: Path | None = Field(
        None, description="folder of the cells' results; an interrupted run resumes in it"
    )
    run: bool = Field(True, description="run the cells that are not done (--no-run: gather only)")
    gather: Path | None = Field(
        None,
        description="write the results (JSON); rows of former cells, and values that no run gives, "
        "are kept from the existing file",
    )
    page: Path | None = Field(
        None,
        description="folder of the page and its plots, made from --gather's file, or else from "
        "experiments.json in that folder",
    )
    data: Path | None = Field(None, description="folder with corpora, abstracts and pubtator")
    cell: tuple[str, ...] = Field(
        (), description="cells to run, in this order (default: all); NAME@N for seeds 1 to N"
    )
    seeds: int = Field(3, ge=1, description="number of seeds of each cell, from 1")
    device: DeviceHere = Field("auto", description="auto, cpu, cuda or cuda:N")
    workers: int = Field(1, ge=1, description="parallel cells")
    threads: int = Field(2, ge=1, description="CPU threads per cell")
    encoder: str = Field(MINILM, description="encoder that the cells start from")
    minutes: float | None = Field(None, gt=0, description="start no cell after this many minutes")


@command(ExperimentSettings, prog="python -m experiments")
def run(settings: ExperimentSettings) -> int:
    """Run the cells of the experiment table; gather the results; write their page."""
    require_work(settings)
    from experiments.command import run_settings

    return run_settings(settings)


def require_work(settings: ExperimentSettings) -> None:
    """Check that there is something to do.

    :raises SettingsError: if there is not.
    """
    if settings.output is None and (settings.gather or not settings.page):
        raise SettingsError("--output DIR is needed, the folder of the results (or --page alone)")
