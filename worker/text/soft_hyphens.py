"""Resolution of soft hyphens: line-break opportunities are dropped, real hyphens are kept.

The vocabulary decides: if a word has fewer word pieces without its soft hyphens, they were only
line-break opportunities.
"""

import re
from collections.abc import Callable, Sequence

from worker.text.reading_table import SOFT_HYPHEN, UNSEEN

# Anchored at the beginning of a word, without backtracking, so that time is linear.
_BROKEN = re.compile(rf"(?<![^\W_])[^\W_]++(?:{SOFT_HYPHEN}[^\W_]++)+")
_LONGEST = 100  # code points; WordPiece splits no longer word


def resolve_soft_hyphens(text: str, count: Callable[[Sequence[str]], Sequence[int]]) -> str:
    """Return `text`, of equal length, with each soft hyphen replaced by `-` or by `UNSEEN`.

    :param count: returns the number of word pieces of each of the given words
    """
    words = dict.fromkeys(x for x in _BROKEN.findall(text) if len(x) <= _LONGEST)
    whole = count([word.replace(SOFT_HYPHEN, "") for word in words])
    apart = count([word.replace(SOFT_HYPHEN, " ") for word in words])
    broken = {word for word, one, other in zip(words, whole, apart, strict=True) if one < other}

    def replaced(found: re.Match[str]) -> str:
        word = found.group()
        return word.replace(SOFT_HYPHEN, UNSEEN if word in broken else "-")

    return _BROKEN.sub(replaced, text).replace(SOFT_HYPHEN, "-")
