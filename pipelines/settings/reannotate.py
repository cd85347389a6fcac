"""The settings of `pubner reannotate`."""

from pydantic import Field

from pipelines.settings.annotate import ModelSettings
from worker.cli.paths import ExistingOutput


class ReannotateSettings(ModelSettings):
    """What to annotate again, and with what; how rows are shaped follows from the output."""

    output: ExistingOutput = Field(
        description="the folder, or URL of an object store, that `pubner annotate` or `pubner "
        "stream` wrote to. Beam's own pipeline options may follow behind `--`.",
    )
    where: str = Field(
        min_length=1,
        description="which citations: a SQL condition over the columns of citations, such as "
        '"checkpoint_id != \'ID\'" or "year >= 2020"; those that the checkpoint has annotated '
        "already are passed over",
    )
    dry_run: bool = Field(default=False, description="count what would be done, and change nothing")
