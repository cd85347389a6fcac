"""Normalisation of tokens, so that a dictionary matches spelling variants of a mention.

A text is cut into *pre-tokens*: a run of letters and digits, or one other character. The joined
normal forms of a span of pre-tokens are its *key*; spans with equal keys match. The rules, which
can be switched off separately (`Rules`):

* **always**: compatibility characters become plain ones, accents are removed (NFKD: `ﬁ` is `fi`,
  `²` is `2`, `é` is `e`, the micro sign is the Greek letter), Unicode dashes become `-`, Unicode
  apostrophes `'`.
* **case**: letters are folded to lower case.
* **hyphens**: hyphens and white space are ignored: `IL-2`, `IL 2` and `IL2` have the key `il2`.
  Only between two digits a space is kept, so that `1 2` and `12` differ.
* **plurals**: a plural loses its ending (`cancers`, `bodies`, `boxes`, `NSAIDs`), a possessive its
  `'s`. An `S` that is upper case is no plural (`AIDS`); neither are `-ss`, `-us` and `-is`.
* **greek**: a Greek letter becomes its name: `TNF-α` and `TNF alpha` have the key `tnfalpha`.

* **numbers**: a mention with numbers has a *pattern* too, its key with `#` for each number, which
  matches other numbers: `il#`. If a span's own key is an entry, it takes precedence.

No key contains a line feed: no match extends from a title into an abstract.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from worker.text.reading_table import Reading, ReadText

LETTER_CASES: Final = 4
"""The number of letter cases: 0 none upper, 1 the first upper, 2 all upper, 3 mixed."""

# Runs of letters and digits with the combining marks on them; a line break; any other character.
_PRETOKEN = re.compile(r"(?:[^\W_][̀-ͯ]*)+|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]|\S")
_DASHES = "‐‑‒–—―⁃−﹘﹣－"
_APOSTROPHES = "’‘ʼ′＇`´"
_PLAIN = str.maketrans(dict.fromkeys(_DASHES, "-") | dict.fromkeys(_APOSTROPHES, "'"))
_GREEK = {
    letter: unicodedata.name(letter).removeprefix("GREEK SMALL LETTER ").lower()
    for letter in "αβγδεζηθικλμνξοπρστυφχψω"
} | {"ς": "sigma", "λ": "lambda"}
_GREEK_CAPITALS = {letter.upper(): name for letter, name in _GREEK.items() if letter != "ς"}
_GREEK_NAMES = str.maketrans(_GREEK | _GREEK_CAPITALS)
_NUMBER = re.compile(r"\d+")
_SIBILANT = re.compile(r"(?:ss|x|z|ch|sh)es$")


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that are switched on; see the module's docstring."""

    case: bool = True
    hyphens: bool = True
    plurals: bool = True
    greek: bool = True
    numbers: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Pretokens:
    """The pre-tokens of a text: their half-open code-point offsets, and their normal forms.

    A form is empty if the pre-token is ignored (a hyphen, the two of a possessive `'s`); a line
    break of any kind is a pre-token too, with a line feed as its form.
    """

    starts: Sequence[int]
    ends: Sequence[int]
    forms: Sequence[str]

    def __len__(self) -> int:
        return len(self.forms)

    def with_patterns(self) -> "Pretokens":
        """Return the same pre-tokens with `#` for each number."""
        forms = [_NUMBER.sub("#", form) for form in self.forms]
        return Pretokens(self.starts, self.ends, forms)


class Normaliser:
    """A normaliser with one set of rules. Immutable; safe to share between threads."""

    def __init__(self, rules: Rules, reading: Reading | None = None) -> None:
        self.rules = rules
        self._reading = reading

    def read(self, text: str) -> Pretokens:
        """Split `text` into pre-tokens and normalise each; offsets are into `text`."""
        read = ReadText(text) if self._reading is None else self._reading.read(text)
        starts, ends, words = [], [], []
        for found in _PRETOKEN.finditer(read.text):
            starts.append(found.start())
            ends.append(found.end())
            words.append(found.group())
        known = {word: self._form(word) for word in set(words)}
        forms = [known[word] for word in words]
        if self.rules.plurals:
            for index in range(1, len(forms) - 1):
                if forms[index] == "'" and words[index + 1] == "s" and _is_word(words[index - 1]):
                    forms[index] = forms[index + 1] = ""
        if read.starts is None:
            return Pretokens(starts, ends, forms)
        first, stop = read.in_original(np.array(starts, np.int32), np.array(ends, np.int32))
        return Pretokens(first.tolist(), stop.tolist(), forms)

    def key(self, text: str) -> str:
        """Return the key of a whole text, such as a mention; empty if all of it is ignored."""
        return self.join(self.read(text).forms)

    def join(self, forms: Iterable[str]) -> str:
        """Return the key of a span of pre-tokens with these forms."""
        key = ""
        for form in forms:
            if form:
                key = self.extend(key, form)
        return key

    def extend(self, key: str, form: str) -> str:
        """Return the key of a span with the key `key` extended by one more pre-token.

        `form`, that pre-token's form, is not empty.
        """
        if not key:
            return form
        if self.rules.hyphens and not (key[-1].isdigit() and form[0].isdigit()):
            return key + form
        return f"{key} {form}"

    def _form(self, word: str) -> str:
        if word.isspace():
            return "\n"
        if not word.isascii():
            word = unicodedata.normalize("NFKD", word.translate(_PLAIN)).translate(_PLAIN)
            word = "".join(c for c in word if not unicodedata.combining(c) and not c.isspace())
        elif word == "`":
            return "'"
        if word == "-" and self.rules.hyphens:
            return ""
        if self.rules.plurals:
            word = _singular(word)
        if self.rules.greek and not word.isascii():
            word = word.translate(_GREEK_NAMES)
        return word.casefold() if self.rules.case else word


def letter_case(text: str) -> int:
    """Return the letter case of a mention as written, one of `LETTER_CASES`."""
    if text == text.lower():
        return 0
    if text == text.upper():
        return 2
    rest = text[1:]
    return 1 if text[0].isupper() and rest == rest.lower() else 3


def _is_word(word: str) -> bool:
    return word[0].isalnum()


def _singular(word: str) -> str:
    """Return `word` without its plural ending, unchanged if it has none."""
    if len(word) < 4 or word[-1] != "s" or word[-2] in "sui" or not word[-2].isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if _SIBILANT.search(word):
        return word[:-2]
    return word[:-1]
