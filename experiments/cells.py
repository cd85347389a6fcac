"""The cells of the experiment table: the corpora, recipe and encoder of each training variant.

A cell is one row of the table; it is run once per seed. Most multi-task cells change one thing of
`mtl-plain` or `mtl-pair-plain`, to measure its effect alone; the last ones combine techniques.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from training.recipes.mlm import MlmRecipe
from training.recipes.recipe import RECIPES, WITH_TEACHERS, Recipe

CORPORA = ("ncbi-disease", "bc5cdr", "bc2gm", "jnlpba")
SMALL = ("ncbi-disease", "bc5cdr")

PLAIN = replace(
    RECIPES["compact"], name="experiment", epochs=6, learning_rate=4e-4, batch_pieces=4096
)
"""The base recipe, of which every cell changes some values."""

ENCODERS: dict[str, MlmRecipe] = {
    "mlm": MlmRecipe(epochs=10, learning_rate=5e-4, batch_pieces=16384),
    "mlm-short": MlmRecipe(epochs=2, learning_rate=3e-4, batch_pieces=4096),
}
"""The adapted encoders, made from MiniLM by masked language modelling, and their recipes."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table.

    `changes` are the differences from `PLAIN`. `teachers` names cells whose runs with all available
    seeds form the teacher ensemble; with `texts` they also label the abstracts. `encoder` is
    `minilm`, one of `ENCODERS`, or a cell, whose best run on devel is trained further. With
    `contexts` windows and whole documents are scored too. `against` names the cell of which this
    one changes one thing, if any. A `dictionary` is the rule-based baseline, without encoder,
    recipe and seed. `shows` describes the row.
    """

    name: str
    shows: str
    corpora: tuple[str, ...] = CORPORA
    changes: dict[str, Any] = field(default_factory=dict)
    teachers: tuple[str, ...] = ()
    texts: bool = False
    encoder: str = "minilm"
    contexts: bool = False
    against: str = ""
    dictionary: bool = False

    def recipe(self, seed: int) -> Recipe:
        """Return the cell's recipe with `seed`."""
        return replace(PLAIN, name=self.name, seed=seed, **self.changes)


def _single(corpus: str) -> Cell:
    # A small corpus alone needs more epochs for the same number of steps.
    epochs = {"ncbi-disease": 14, "bc5cdr": 14}.get(corpus, 8)
    return Cell(
        f"stl-{corpus}",
        f"one model for {corpus} alone",
        (corpus,),
        {"epochs": epochs, "batch_pieces": 2048, "learning_rate": 3e-4},
    )


def _pair(name: str, shows: str, **changes: float) -> Cell:
    """Return a cell on the two small corpora, where regularisation has most effect at less cost."""
    against = "" if name == PAIR_PLAIN else PAIR_PLAIN
    return Cell(name, shows, SMALL, {"epochs": 10} | changes, against=against)


MTL_PLAIN = "mtl-plain"
PAIR_PLAIN = "mtl-pair-plain"
SINGLES = tuple(f"stl-{corpus}" for corpus in CORPORA)


def _changes_of(recipe: str) -> dict[str, Any]:
    """Return the differences of a named recipe from `PLAIN`, except the seed."""
    plain = PLAIN.values()
    return {
        key: value
        for key, value in RECIPES[recipe].values().items()
        if key not in ("name", "seed") and value != plain[key]
    }


_BEST = _changes_of("shipped-teacher")

CELLS: tuple[Cell, ...] = (
    Cell(
        "baseline-dictionary",
        "mentions of the training split, looked up; no neural network",
        contexts=True,
        dictionary=True,
    ),
    *(_single(corpus) for corpus in CORPORA),
    Cell(MTL_PLAIN, "all corpora, in proportion to their size", contexts=True),
    Cell(
        "mtl-sentences",
        "trained on single sentences, no windows",
        changes={"max_sentences": 1},
        contexts=True,
        against=MTL_PLAIN,
    ),
    Cell(
        "mtl-uniform",
        "corpora drawn equally often",
        changes={"sampling_exponent": 0.0},
        against=MTL_PLAIN,
    ),
    Cell(
        "mtl-temperature",
        "drawn by the square root of their size",
        changes={"sampling_exponent": 0.5},
        against=MTL_PLAIN,
    ),
    Cell(
        "mtl-annealed",
        "from the square root to proportional",
        changes={"sampling_exponent": 0.5, "sampling_exponent_end": 1.0},
        against=MTL_PLAIN,
    ),
    Cell(
        "mtl-uncertainty",
        "heads weighted by learned uncertainty",
        changes={"uncertainty_weighting": True},
        against=MTL_PLAIN,
    ),
    Cell(
        "mtl-mlm",
        "encoder adapted by ten epochs of masked language modelling",
        encoder="mlm",
        against=MTL_PLAIN,
    ),
    Cell(
        "mtl-pseudo",
        "pseudo-labels of sure teachers on other corpora and abstracts",
        changes={"pseudo_weight": 0.5, "pseudo_threshold": 0.9, "text_share": 0.3},
        teachers=(MTL_PLAIN,),
        texts=True,
        against=MTL_PLAIN,
    ),
    Cell(
        "mtl-distil",
        "soft labels of an STL and MTL ensemble on all text",
        changes=WITH_TEACHERS | {"text_share": 0.3},
        teachers=(*SINGLES, MTL_PLAIN),
        texts=True,
        against=MTL_PLAIN,
    ),
    _pair(PAIR_PLAIN, "NCBI and BC5CDR alone, nothing changed"),
    _pair("augment-mentions", "mentions replaced", mention_replacement=0.3),
    _pair("augment-tokens", "pre-tokens replaced label-wise", token_replacement=0.3),
    _pair("augment-shuffle", "shuffled within segments", segment_shuffle=0.3),
    _pair("mtl-pair-layer-decay", "learning rate times 0.85 a layer", layer_decay=0.85),
    _pair("mtl-pair-ema", "averaged weights, 0.998 a step", ema=0.998),
    _pair("mtl-pair-fgm", "attacks on the embeddings, length 0.5", fgm=0.5),
    Cell(
        "mtl-best",
        "adapted encoder, square root, averaged weights",
        changes=_BEST,
        encoder="mlm",
        contexts=True,
    ),
    Cell(
        "mtl-final",
        "the same, taught by an ensemble of mtl-best on all text",
        changes=_BEST | WITH_TEACHERS | {"epochs": 10, "text_share": 0.5},
        teachers=("mtl-best",),
        texts=True,
        encoder="mlm",
        contexts=True,
    ),
    Cell(
        "mtl-final-augment",
        "mtl-final with mentions replaced",
        changes=_BEST
        | WITH_TEACHERS
        | {"epochs": 10, "text_share": 0.5, "mention_replacement": 0.3},
        teachers=("mtl-best",),
        texts=True,
        encoder="mlm",
        contexts=True,
        against="mtl-final",
    ),
    Cell(
        "mtl-short-direct",
        "two epochs of adaptation, ten of training, no teachers",
        changes=_changes_of("short-teacher") | {"epochs": 10},
        encoder="mlm-short",
        contexts=True,
    ),
    Cell(
        "mtl-short-teacher",
        "two epochs of adaptation, three of training",
        changes=_changes_of("short-teacher"),
        encoder="mlm-short",
    ),
    Cell(
        "mtl-short",
        "two epochs of adaptation, taught by mtl-short-teacher",
        changes=_changes_of("short"),
        teachers=("mtl-short-teacher",),
        texts=True,
        encoder="mlm-short",
        contexts=True,
    ),
    Cell(
        "mtl-shipped",
        "the best mtl-best goes on for an epoch under attack, taught by all of them",
        changes=_changes_of("shipped") | {"text_share": 0.083},
        teachers=("mtl-best",),
        texts=True,
        encoder="mtl-best",
        contexts=True,
    ),
)


def find_cell(name: str) -> Cell:
    """Return the cell `name`; KeyError if there is none."""
    return {cell.name: cell for cell in CELLS}[name]
