"""Mends sentence breaks that drifted when `-DOCSTART-` lines were taken out of JNLPBA.

A `-DOCSTART-` line is a sentence of one word. At the public source the words of these lines were
removed, but the sentence lengths were kept, those of one included, and laid over the words that
remained. So each break behind a document's start comes one word too early for each document so far,
a lone first word marks where a document started, and the lengths of the last sentences, as many
words as there are such marks, are lost.

The mend drops the lengths of one and lays the rest over the words again. Where the lengths run out,
sentences end behind a full stop, as 98 % of the sentences of devel and test do. The sentence at
which the file's end cut the last length stays cut there.
"""

from collections.abc import Iterator, Sequence

_FULL_STOP = "."


def mend_breaks(sentences: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Yield the sentences with their breaks where they belong; `sentences` hold `word TAB tag`.

    Only for files whose breaks drifted: a true sentence of one word would be taken for a mark.
    """
    rows = [row for sentence in sentences for row in sentence]
    start = 0
    for sentence in sentences:
        if len(sentence) > 1:
            yield rows[start : start + len(sentence)]
            start += len(sentence)
    rest: list[str] = []
    for row in rows[start:]:
        rest.append(row)
        if row.partition("\t")[0] == _FULL_STOP:
            yield rest
            rest = []
    if rest:
        yield rest


def mend_file(content: bytes) -> bytes:
    """Return the content of a word-and-tag file with its drifted breaks mended, in UTF-8."""
    text = content.decode("utf-8").replace("\r\n", "\n")
    blocks = [block.split("\n") for block in text.strip("\n").split("\n\n")]
    mended = mend_breaks(blocks)
    return "".join("\n".join(sentence) + "\n\n" for sentence in mended).encode("utf-8")
