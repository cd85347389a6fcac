"""Trial texts that a checkpoint must annotate before it is put into use."""

from typing import Final

from worker.tagger import Tagger

TRIAL_TEXTS: Final = tuple(
    "Mutations of BRCA1 in patients with breast cancer treated with tamoxifen. " * count
    for count in (1, 8, 2, 24, 4)
)
"""Texts of several lengths, so that buffers and kernels created on first use exist by then."""


def try_tagger(tagger: Tagger) -> None:
    """Annotate the trial texts with a tagger.

    :raises RecordError: if its scores are not finite.
    """
    tagger.annotate(TRIAL_TEXTS)
