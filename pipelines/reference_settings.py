"""`pubner checkpoint reference`: its options."""

from collections.abc import Sequence

from pydantic import Field

from worker.command import Settings, parse_settings
from worker.devices import DeviceHere
from worker.paths import FileToRead

PROG = "pubner checkpoint reference"


class ReferenceSettings(Settings):
    """Of which checkpoint, made on which texts, and how."""

    checkpoint: str = Field(description="a checkpoint's folder, or `default` for the shipped one")
    texts: FileToRead = Field(
        description="citations such as it will read: JSONL, PubMed XML or PubTator, plain or gzip"
    )
    limit: int = Field(
        default=2000, ge=1, description="how many citations are read, spread over the file"
    )
    device: DeviceHere = Field(default="auto", description="auto, cpu, cuda or cuda:N")
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads (default: the library's choice)"
    )
    json_file: str | None = Field(
        default=None, description="write the reference as JSON; - is standard output"
    )


def run(argv: Sequence[str]) -> int:
    """Run the command with the words behind `pubner checkpoint reference`; return its exit code.

    :raises PubnerError: with one line to show.
    """
    settings = parse_settings(
        ReferenceSettings,
        argv,
        prog=PROG,
        description="Annotate texts, and write what was found into a checkpoint's manifest, as the "
        "reference that its later output is compared with for drift. Its id stays the same.",
        positional="checkpoint",
    )
    from pipelines.reference_command import make_reference

    return make_reference(settings)
