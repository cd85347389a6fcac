"""Character normalisation before tokenisation, with offsets into the original text.

The training corpora are nearly plain ASCII (`TNF-alpha`, `+/-`); the texts to annotate are not. A
*reading* is a named table of character replacements; a checkpoint's manifest names the one that it
was trained or evaluated with. A table never changes: a new table gets a new name.

Table `1`:

* compatibility characters (superscripts and subscripts, full-width and mathematical letters,
  ligatures, Roman numerals) become plain ones, as Unicode 3.2 decomposes them;
* Greek letters of all kinds, and lookalikes (the micro sign, `ß`), become their names, but the
  micro sign of a unit (`µg`) becomes the letter `μ`;
* hyphens, dashes and minus signs, quotation marks and primes, spaces, dots, and a few signs
  (`±`, `≤`, `×`, `→`, `®`) become their ASCII equivalents;
* Latin letters without a decomposition (`ø`, `ł`, `æ`, dotless `ı`) become plain letters;
* invisible characters (zero-width ones, directional marks) are removed.

A character and the combining marks after it are a unit: composed if Unicode has such a character,
and never split by a mention.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.errors import CheckpointError

NEWEST: Final = "1"
"""The table that new checkpoints are trained with."""

SOFT_HYPHEN: Final = "\u00ad"
UNSEEN: Final = "\u200b"
"""A character that the table removes."""

Offsets = npt.NDArray[np.int32]

_PLAIN = {
    "‐‑‒–—―⁃−˗﹘﹣－⸺⸻֊" + SOFT_HYPHEN: "-",
    "‘’‚‛ʹʻʼʽˈʾʿ′‵´＇`ˊˋ‹›": "'",
    "“”„‟«»〝〞〟": '"',
    "″‶": "''",
    "‴": "'''",
    "·⋅∙•‧・･": ".",
    "∗": "*",
    "⁄∕": "/",
    "∶": ":",
    "∼˜〜": "~",
    "±": "+/-",
    "∓": "-/+",
    "≤⩽≦": "<=",
    "≥⩾≧": ">=",
    "≪": "<<",
    "≫": ">>",
    "〈⟨": "<",
    "〉⟩": ">",
    "×": "x",
    "÷": "/",
    "→⟶⇒➔": "->",
    "←⟵⇐": "<-",
    "↔⇔": "<->",
    "®": "(R)",
    "™": "(TM)",
    "℠": "(SM)",
    "©": "(C)",
    "ß": "beta",
    "ɑ": "alpha",
    "ɛ": "epsilon",
    "ɣ": "gamma",
    "∆": "Delta",
    "ø": "o",
    "Ø": "O",
    "ł": "l",
    "Ł": "L",
    "đð": "d",
    "ĐÐ": "D",
    "ħ": "h",
    "Ħ": "H",
    "ŧ": "t",
    "Ŧ": "T",
    "æ": "ae",
    "Æ": "AE",
    "œ": "oe",
    "Œ": "OE",
    "þ": "th",
    "Þ": "Th",
    "ı": "i",
    "ȷ": "j",
    "ƒ": "f",
    "ₐ": "a",
    "ₑ": "e",
    "ₕ": "h",
    "ₖ": "k",
    "ₗ": "l",
    "ₘ": "m",
    "ₙ": "n",
    "ₒ": "o",
    "ₚ": "p",
    "ₛ": "s",
    "ₜ": "t",
    "ₓ": "x",
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f"
    "\u3000": " ",
    "\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062"
    "\u2063\u2064\u2066\u2067\u2068\u2069\ufeff": "",
}
_GREEK = {
    letter: unicodedata.name(letter).removeprefix("GREEK SMALL LETTER ").lower()
    for letter in "αβγδεζηθικμνξοπρστυφχψω"
} | {"λ": "lambda", "ς": "sigma"}
# Blocks with compatibility characters that stand for Latin and Greek letters, digits and signs.
_COMPATIBLE = (
    (0x00A0, 0x02FF),
    (0x0370, 0x03FF),
    (0x1E00, 0x1FFF),
    (0x2000, 0x24FF),
    (0x3300, 0x33FF),
    (0xFB00, 0xFB06),
    (0xFE30, 0xFE6F),
    (0xFF00, 0xFFEF),
    (0x1D400, 0x1D7FF),
)
_MARK = r"\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f"
_MICRO = re.compile(r"[μµ](?=(?:mol|[AFGLMNVglms])\b)")
_MARKS = re.compile(f"[{_MARK}]")
_MOST_MARKS = 30  # as in Unicode's stream-safe text; more are left unchanged
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_WITH_MARKS = re.compile(
    rf"[^\x00-\x7f][{_MARK}]{{0,{_MOST_MARKS}}}|[!-~][{_MARK}]{{1,{_MOST_MARKS}}}"
)


@dataclass(frozen=True, slots=True, eq=False)
class ReadText:
    """A normalised text: `text`, and the original offsets of each of its characters.

    `starts` and `ends` are half-open code-point offsets into the original, shape (characters,);
    None if the text is unchanged.
    """

    text: str
    starts: Offsets | None = None
    ends: Offsets | None = None

    def in_original(self, starts: Offsets, ends: Offsets) -> tuple[Offsets, Offsets]:
        """Convert offsets of non-empty spans of `text` to offsets into the original."""
        if self.starts is None or self.ends is None or not len(starts):
            return starts, ends
        return self.starts[starts], self.ends[ends - 1]


class Reading:
    """A character normaliser by one table. Immutable; safe to share between threads."""

    def __init__(self, name: str, table: dict[str, str]) -> None:
        self.name = name
        self._table = table

    def read(self, text: str) -> ReadText:
        """Return `text` normalised; ASCII is unchanged."""
        if text.isascii():
            return ReadText(text)
        pattern = _WITH_MARKS if _MARKS.search(text) else _BEYOND_ASCII
        parts: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        copied_to = 0
        for found in pattern.finditer(text):
            given = found.group()
            read = self._character(given)
            if read == given and len(given) == 1:
                continue
            start, end = found.span()
            if read == "mu" and _MICRO.match(text, start):
                read = "μ"
            parts += text[copied_to:start], read
            starts += range(copied_to, start)
            starts += [start] * len(read)
            ends += range(copied_to + 1, start + 1)
            ends += [end] * len(read)
            copied_to = end
        if not parts:
            return ReadText(text)
        parts.append(text[copied_to:])
        starts += range(copied_to, len(text))
        ends += range(copied_to + 1, len(text) + 1)
        return ReadText("".join(parts), np.array(starts, np.int32), np.array(ends, np.int32))

    def _character(self, given: str) -> str:
        read = self._table.get(given[0], given[0])
        return unicodedata.normalize("NFC", read + given[1:]) if len(given) > 1 else read


@cache
def reading_of(name: str) -> Reading:
    """Return the reading called `name`, as given in a manifest.

    :raises CheckpointError: if this version has no table of that name.
    """
    if name != NEWEST:
        raise CheckpointError(
            f"the checkpoint reads texts with the table {name!r}, this version has only "
            f"{NEWEST!r}; install a newer pubner"
        )
    return Reading(name, _table())


def _table() -> dict[str, str]:
    """Return the replacement of each character that the table changes."""
    plain = {character: read for group, read in _PLAIN.items() for character in group}
    plain |= _GREEK | {
        letter.upper(): name.capitalize() for letter, name in _GREEK.items() if letter != "ς"
    }
    unicode_3_2 = unicodedata.ucd_3_2_0  # the same under every version of Python
    found: dict[str, str] = {}
    for first, last in _COMPATIBLE:
        for character in map(chr, range(first, last + 1)):
            whole = unicode_3_2.normalize("NFKD", character)
            letters = "".join(x for x in whole if not unicode_3_2.combining(x))
            if unicode_3_2.normalize("NFD", character) == whole and letters not in plain:
                continue  # an accented letter, which the tokeniser handles
            if letters.startswith("μ") and len(letters) > 1:
                found[character] = letters
                continue
            read = "".join(plain.get(letter, letter) for letter in letters)
            if read.isascii() and not any(x.isspace() for x in read):
                found[character] = read
    return found | {x: read for x, read in plain.items() if not x.isascii()}
