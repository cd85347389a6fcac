"""The cells of the experiment table: what each trains, from what, and what it is there to show.

A cell is one row of the table; it is run once a seed. All multi-task cells but the last change one
thing of `mtl-plain`, so that what it gives is read off by itself.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from training.recipe import Recipe

CORPORA = ("ncbi-disease", "bc5cdr", "bc2gm", "jnlpba")
SMALL = ("ncbi-disease", "bc5cdr")

PLAIN = Recipe(
    "experiment",
    epochs=6,
    learning_rate=4e-4,
    head_rate_factor=3.0,
    batch_pieces=4096,
    attention_dropout=0.0,
    letter_case=True,
    single_share=0.3,
)
"""What every cell changes one thing of."""

MLM = "mlm"
"""The encoder that `pubner train mlm` makes, among the cells' encoders."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table.

    `changes` are what differs from `PLAIN`. `teachers` names cells whose runs, of all seeds that
    are there, teach together; `texts` says whether they read the abstracts too. `encoder` is
    `minilm`, or `MLM`. `shows` says in words what the row is there for.
    """

    name: str
    shows: str
    corpora: tuple[str, ...] = CORPORA
    changes: dict[str, Any] = field(default_factory=dict)
    teachers: tuple[str, ...] = ()
    texts: bool = False
    encoder: str = "minilm"

    def recipe(self, seed: int) -> Recipe:
        """Return the cell's recipe with `seed`."""
        return replace(PLAIN, name=self.name, seed=seed, **self.changes)


def _single(corpus: str) -> Cell:
    # A small corpus alone needs more passes to take as many steps.
    epochs = {"ncbi-disease": 14, "bc5cdr": 14}.get(corpus, 8)
    return Cell(
        f"stl-{corpus}",
        f"one model for {corpus} alone",
        (corpus,),
        {"epochs": epochs, "batch_pieces": 2048, "learning_rate": 3e-4},
    )


BEST: dict[str, Any] = {
    "sampling_exponent": 0.5,
    "ema": 0.998,
    "fgm": 0.5,
    "mention_replacement": 0.3,
    "epochs": 8,
}
"""The techniques that the last cells put together, chosen on devel."""

SINGLES = tuple(f"stl-{corpus}" for corpus in CORPORA)

CELLS: tuple[Cell, ...] = (
    *(_single(corpus) for corpus in CORPORA),
    Cell("mtl-plain", "all corpora, in proportion to their size"),
    Cell("mtl-sentences", "trained on single sentences, no windows", changes={"max_sentences": 1}),
    Cell("mtl-uniform", "corpora drawn equally often", changes={"sampling_exponent": 0.0}),
    Cell("mtl-temperature", "drawn by the square root", changes={"sampling_exponent": 0.5}),
    Cell(
        "mtl-annealed",
        "from the square root to proportional",
        changes={"sampling_exponent": 0.5, "sampling_exponent_end": 1.0},
    ),
    Cell(
        "mtl-uncertainty",
        "heads weighted by learned uncertainty",
        changes={"uncertainty_weighting": True},
    ),
    Cell("mtl-mlm", "encoder adapted by masked language modelling", encoder=MLM),
    Cell(
        "mtl-pseudo",
        "pseudo-labels of sure teachers on other corpora and abstracts",
        changes={"pseudo_weight": 0.5, "pseudo_threshold": 0.9, "text_share": 0.3},
        teachers=("mtl-plain",),
        texts=True,
    ),
    Cell(
        "mtl-distil",
        "soft tags of an STL and MTL ensemble on all text",
        changes={"distil_weight": 0.5, "pseudo_weight": 1.0, "text_share": 0.3},
        teachers=(*SINGLES, "mtl-plain"),
        texts=True,
    ),
    Cell("augment-mentions", "mentions replaced", changes={"mention_replacement": 0.3}),
    Cell("augment-tokens", "pre-tokens replaced label-wise", changes={"token_replacement": 0.3}),
    Cell("augment-shuffle", "shuffled within segments", changes={"segment_shuffle": 0.3}),
    Cell("mtl-dropout", "dropout from 0.2 to 0", changes={"dropout": 0.2, "dropout_end": 0.0}),
    Cell("mtl-rdrop", "R-Drop, weight 0.5", changes={"rdrop": 0.5}),
    Cell("mtl-layer-decay", "learning rate times 0.85 a layer", changes={"layer_decay": 0.85}),
    Cell("mtl-ema", "averaged weights, 0.998 a step", changes={"ema": 0.998}),
    Cell("mtl-fgm", "attacks on the embeddings, length 0.5", changes={"fgm": 0.5}),
    Cell("mtl-smoothing", "label smoothing 0.1", changes={"label_smoothing": 0.1}),
    Cell("mtl-best", "the best of the above together", changes=BEST, encoder=MLM),
    Cell(
        "mtl-final",
        "the best together, taught by an ensemble of mtl-best and STL",
        changes=BEST | {"distil_weight": 0.5, "pseudo_weight": 1.0, "text_share": 0.5},
        teachers=("mtl-best",),
        texts=True,
        encoder=MLM,
    ),
)


def find_cell(name: str) -> Cell:
    """Return the cell `name`; KeyError if there is none."""
    return {cell.name: cell for cell in CELLS}[name]
