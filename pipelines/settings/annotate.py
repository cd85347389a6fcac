"""Settings of `pubner annotate`, and those shared with `pubner stream`."""

from typing import Literal, Self

from pydantic import Field, model_validator

from worker.cli.command import Settings
from worker.cli.common_options import CacheOptions, WorkerOptions, json_option
from worker.cli.paths import ExistingFolder, OutputFolder
from worker.readers.formats import Format


class CheckpointSettings(CacheOptions):
    """The checkpoints to annotate with."""

    alternatives = (("checkpoint", "registry"),)

    checkpoint: tuple[str, ...] = Field(
        ("default",),
        min_length=1,
        description="checkpoint folders, or `default`; several form a set, whose heads must "
        "differ; with --registry an id there, or a prefix of one",
    )
    registry: ExistingFolder | None = Field(
        None,
        min_length=1,
        description="a checkpoint registry: its active checkpoint is used, or the one given "
        "by --checkpoint",
    )

    @model_validator(mode="after")
    def _check_checkpoints(self) -> Self:
        if len(set(self.checkpoint)) != len(self.checkpoint):
            raise ValueError(f"a checkpoint is given twice in {','.join(self.checkpoint)!r}")
        if self.named_in_registry is not None and len(self.checkpoint) > 1:
            raise ValueError(
                f"--registry takes one checkpoint, and --checkpoint names "
                f"{','.join(self.checkpoint)!r}; name one id of the registry, or leave "
                "--registry out to annotate with several folders at once"
            )
        return self

    @property
    def named_in_registry(self) -> str | None:
        """The checkpoint given together with a registry; None without either."""
        given = self.registry is not None and "checkpoint" in self.model_fields_set
        return self.checkpoint[0] if given else None


class ModelSettings(CheckpointSettings, WorkerOptions):
    """The checkpoints to annotate with, the runner and the device."""

    runner: str = Field(
        "DirectRunner",
        description="Beam's runner: DirectRunner (in this process), PrismRunner, FlinkRunner, "
        "DataflowRunner, PortableRunner",
        examples=[
            "DirectRunner",
            "PrismRunner",
            "FlinkRunner",
            "DataflowRunner",
            "PortableRunner",
            "SparkRunner",
        ],
    )
    json_file: str | None = json_option("the summary")
    chunk_size: int = Field(250, ge=1, description="citations passed to the model at once")
    verbose: bool = Field(
        False,
        description="show Beam's log on standard error, and the traceback of an unexpected error",
    )


class RunSettings(ModelSettings):
    """The model settings, and the output to write."""

    output: OutputFolder = Field(
        "out", description="the folder, or URL of an object store, to write Parquet to"
    )
    block_size: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="records of a block, the unit of an output file and of a retry",
    )
    store_text: bool = Field(True, description="store the text in the citations' rows")
    max_text_chars: int | None = Field(
        None, ge=1, description="read at most so many characters of a text; by default all of it"
    )

    @property
    def row_settings(self) -> str:
        """The settings that shape the rows, as one string for the files' footers."""
        return (
            f"max_text_chars={self.max_text_chars or 'none'};"
            f"store_text={str(self.store_text).lower()}"
        )


class InputOptions(Settings):
    """The inputs, and their format."""

    inputs: tuple[str, ...] = Field(
        (),
        description="files, folders or globs, here or in any file system that Beam opens: PubMed "
        "XML, PubTator or JSONL, plain or .gz; without any, the bundled sample",
    )
    format: Literal["auto", "pubmed-xml", "pubtator", "jsonl"] = Field(
        "auto", description="the inputs' format; auto detects it by their names"
    )

    @property
    def input_format(self) -> Format | None:
        """The format of every input; None to detect it by each file's name."""
        return None if self.format == "auto" else Format(self.format)


class AnnotateSettings(RunSettings, InputOptions):
    """The inputs of a batch run, and the run settings."""

    reread_older: bool = Field(
        False,
        description="read finished blocks again that an older version of the readers made; by "
        "default they are skipped and counted",
    )

    @property
    def row_settings(self) -> str:
        """The settings that shape the rows, as one string for the files' footers."""
        return f"format={self.format};{super().row_settings}"
