"""Settings of `pubner checkpoint reference`."""

from pydantic import Field

from worker.cli.devices import DeviceHere
from worker.cli.paths import FileToRead
from worker.cli.registry_options import RegistryOptions


class ReferenceSettings(RegistryOptions):
    """The checkpoint, the reference texts, and the device."""

    checkpoint: str = Field(
        description="a checkpoint's folder, `default` for the shipped one, or one of --registry"
    )
    texts: FileToRead = Field(
        description="citations typical of its input: JSONL, PubMed XML or PubTator, plain or gzip"
    )
    limit: int = Field(default=2000, ge=1, description="number of citations, spread over the file")
    device: DeviceHere = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads (default: the library's choice)"
    )
    json_file: str | None = Field(
        default=None, description="write the reference as JSON; - is standard output"
    )
