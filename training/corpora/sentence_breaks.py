"""Repair of JNLPBA's sentence breaks, which shifted when its `-DOCSTART-` lines were removed.

A `-DOCSTART-` line is a sentence of one word. At the public source the words of these lines were
removed, but the sentence lengths, including those of one, were kept and applied to the remaining
words. So each break is one word too early for each document started so far, a sentence of one word
marks a document start, and the lengths of the last sentences, covering as many words as there are
documents, are lost.

The repair drops the lengths of one and applies the rest to the words again. After the last length,
sentences end after a full stop, as 98 % of the sentences of devel and test do. The sentence whose
length was cut by the end of the file stays cut there.
"""

from collections.abc import Iterator, Sequence

_FULL_STOP = "."


def repair_breaks(sentences: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Yield the sentences with repaired breaks; `sentences` hold lines `word TAB tag`.

    Only for files with shifted breaks: a true sentence of one word would be taken for a document
    start.
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


def repair_file(content: bytes) -> bytes:
    """Return the UTF-8 content of a word-and-tag file with repaired sentence breaks."""
    text = content.decode("utf-8").replace("\r\n", "\n")
    blocks = [block.split("\n") for block in text.strip("\n").split("\n\n")]
    repaired = repair_breaks(blocks)
    return "".join("\n".join(sentence) + "\n\n" for sentence in repaired).encode("utf-8")
