"""Settings of `pubner checkpoint reference`."""

from pydantic import Field

from worker.cli.common_options import ComputeOptions, json_option
from worker.cli.paths import FileToRead


class ReferenceSettings(ComputeOptions):
    """The checkpoint, the reference texts, and the device."""

    checkpoint: str = Field(description="a checkpoint's folder, or `default` for the shipped one")
    texts: FileToRead = Field(
        description="citations typical of its input: JSONL, PubMed XML or PubTator, plain or gzip"
    )
    limit: int = Field(2000, ge=1, description="number of citations, spread over the file")
    json_file: str | None = json_option("the reference")
