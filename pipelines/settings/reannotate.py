"""Settings of `pubner reannotate`."""

from pydantic import Field

from pipelines.settings.annotate import ModelSettings
from worker.cli.paths import ExistingOutput


class ReannotateSettings(ModelSettings):
    """The citations to annotate again, and the model; row settings come from the output."""

    output: ExistingOutput = Field(
        description="the folder, or URL of an object store, that `pubner annotate` or `pubner "
        "stream` wrote to"
    )
    where: str = Field(
        min_length=1,
        description="which citations: a SQL condition over the columns of citations, such as "
        '"checkpoint_id != \'ID\'" or "year >= 2020"; those that the checkpoint has annotated '
        "already are skipped",
    )
    dry_run: bool = Field(False, description="count the matching citations, and change nothing")
