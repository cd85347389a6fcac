"""What a checkpoint must be able to read before it goes into use."""

from typing import Final

from worker.tagger import Tagger

TRIAL_TEXTS: Final = tuple(
    "Mutations of BRCA1 in patients with breast cancer treated with tamoxifen. " * count
    for count in (1, 8, 2, 24, 4)
)
"""Texts of several lengths, so that what is laid out at first use is laid out by then."""


def try_tagger(tagger: Tagger) -> None:
    """Have a tagger read the trial texts.

    :raises RecordError: if its scores are no numbers.
    """
    tagger.annotate(TRIAL_TEXTS)
