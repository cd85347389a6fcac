"""Soft hyphens: some stand where a word may be broken, others where a hyphen was meant.

The two look alike. A vocabulary tells them apart: a word that it has in fewer pieces without its
soft hyphens was only broken by them.
"""

import re
from collections.abc import Callable, Sequence

from worker.text.reading_table import SOFT_HYPHEN, UNSEEN

# From the beginning of a word only, and without going back, so that time is linear.
_BROKEN = re.compile(rf"(?<![^\W_])[^\W_]++(?:{SOFT_HYPHEN}[^\W_]++)+")
_LONGEST = 100  # code points; WordPiece knows no longer word


def settle_soft_hyphens(text: str, count: Callable[[Sequence[str]], Sequence[int]]) -> str:
    """Return `text`, of equal length, with each soft hyphen as a hyphen or as a character unseen.

    :param count: how many word pieces the vocabulary has for each of some words
    """
    words = dict.fromkeys(x for x in _BROKEN.findall(text) if len(x) <= _LONGEST)
    whole = count([word.replace(SOFT_HYPHEN, "") for word in words])
    apart = count([word.replace(SOFT_HYPHEN, " ") for word in words])
    broken = {word for word, one, other in zip(words, whole, apart, strict=True) if one < other}

    def settled(found: re.Match[str]) -> str:
        word = found.group()
        return word.replace(SOFT_HYPHEN, UNSEEN if word in broken else "-")

    return _BROKEN.sub(settled, text).replace(SOFT_HYPHEN, "-")
