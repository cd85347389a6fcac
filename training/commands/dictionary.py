"""`pubner train dictionary`: learns the dictionary tagger, the rule-based baseline."""

import os
import time
from functools import partial

from pydantic import Field

from schemas.errors import SettingsError
from training.corpora.corpus import corpora_root
from training.reports.outputs import prepare_output
from training.reports.progress import show_work
from worker.checkpoint.folder import DICTIONARY, MANIFEST
from worker.cli.command import command, human_console, print_table, write_json
from worker.cli.common_options import CorporaOptions, json_option
from worker.cli.paths import OutputPath
from worker.cli.progress import show_loading
from worker.dictionary.normalisation import Rules

PROG = "pubner train dictionary"
_ALL = ("ncbi-disease", "bc5cdr", "bc2gm", "jnlpba")


class DictionarySettings(CorporaOptions):
    """Options of `pubner train dictionary`."""

    corpus: tuple[str, ...] = Field(
        (), description=f"corpora to learn from, one head each (default: {','.join(_ALL)})"
    )
    output: OutputPath = Field(description="folder for the checkpoint")
    case: bool = Field(True, description="ignore letter case")
    hyphens: bool = Field(True, description="ignore hyphens and spaces: IL-2 = IL 2 = IL2")
    plurals: bool = Field(True, description="ignore plural and possessive endings")
    greek: bool = Field(True, description="treat Greek letters and their names as equal")
    numbers: bool = Field(True, description="let a mention with numbers match other numbers too")
    restart: bool = Field(False, description="discard the content of the output folder")
    json_file: str | None = json_option("devel scores and cost")


@command(DictionarySettings, prog=PROG)
def run(settings: DictionarySettings) -> None:
    """Learn a dictionary from training mentions: the rule-based baseline.

    :raises TrainingError: if the output folder holds something else.

    :raises CorpusError: if a corpus is missing or broken.
    """
    names = settings.corpus or _ALL
    if len(set(names)) != len(names):
        raise SettingsError(f"--corpus names a corpus twice: {', '.join(names)}")
    prepare_output(settings.output, restart=settings.restart, own=(MANIFEST, DICTIONARY))
    console = human_console(settings.json_file)
    with show_loading():
        from training.dictionary.export import train_dictionary
        from training.finetune.run import load_training_corpora

    begun = time.monotonic()
    rules = Rules(
        case=settings.case,
        hyphens=settings.hyphens,
        plurals=settings.plurals,
        greek=settings.greek,
        numbers=settings.numbers,
    )
    root = corpora_root(settings.data, os.environ)
    with show_work(console) as work:
        corpora = load_training_corpora(root, names, work, partial(console.print, soft_wrap=True))
        with work.stage("learning the dictionary", len(corpora), "heads") as stage:

            def log(line: str) -> None:
                console.print(line)
                stage.advance()

            manifest, heads = train_dictionary(settings.output, corpora, rules, log)
    seconds = time.monotonic() - begun
    print_table(
        console,
        [[head.task.name, f"{head.devel_f1:.4f}"] for head in heads],
        columns=("head", "devel strict F1"),
        right=(1,),
        title=f"Checkpoint {manifest.id} in {settings.output}",
    )
    write_json(
        {
            "id": manifest.id,
            "path": str(settings.output),
            "devel": {head.task.name: head.devel_f1 for head in heads},
            "recipe": manifest.recipe,
            "seconds": seconds,
        },
        settings.json_file,
    )
