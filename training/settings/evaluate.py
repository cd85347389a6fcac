"""`pubner evaluate`: its options."""

from pathlib import Path

from pydantic import Field

from training.corpora.catalogue import Split
from training.evaluation.predict import Context
from worker.cli.common_options import ComputeOptions, CorporaOptions, RegistryOptions, json_option


class EvaluateSettings(RegistryOptions, ComputeOptions, CorporaOptions):
    """The options of `pubner evaluate`."""

    checkpoint: tuple[str, ...] = Field(
        min_length=1,
        description="a checkpoint's folder, `default` for the shipped one, or one of --registry; "
        "several are combined",
    )
    corpus: tuple[str, ...] = Field(
        (),
        description="corpora to score on, by name (default: the existing ones of the "
        "checkpoint's heads; none if --documents is given)",
    )
    split: Split = Field(Split.DEVEL, description="the part of each corpus to score on")
    context: Context = Field(
        Context.SENTENCE, description="context: each sentence alone, or windows of eight joined"
    )
    documents: tuple[str, ...] = Field(
        (),
        description="PubTator files with gold mentions, scored end to end on raw text; "
        "HEAD=FILE names the head",
    )
    errors: Path | None = Field(
        None,
        description="write a page (HTML) on the errors of each head: their kinds, what is missed, "
        "the worst sentences",
    )
    reliability: Path | None = Field(
        None, description="draw (SVG) each head's confidence against its precision on its corpus"
    )
    json_file: str | None = json_option("the scores")
