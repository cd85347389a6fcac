"""Framing of PubMed XML: records are split at byte level, so a broken one affects no other.

An XML parser that reads a whole file stops at the first error and loses the rest. Here records are
found by their tags (except tags in comments, CDATA sections, processing instructions and the
document type, unless an unclosed one extends over records), and each is parsed separately, later,
from its original bytes. Memory is bounded by the largest record, whose size is limited.

For any input bytes, each record of the file is returned as a frame, or contained in a failure's
payload; a record over the limit, or over `MAX_STRAY_BYTES` if its start tag is damaged, with its
first bytes and its full size.
"""

import codecs
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from schemas.errors import RecordError
from worker.readers.failures import (
    MAX_RECORD_BYTES,
    Failure,
    oversize_failure,
    parse_failure,
    read_failure,
)
from worker.readers.markup import (
    BOM,
    DOCTYPE_TOKEN,
    GAP_TOKEN,
    LONGEST_HEAD,
    MEDLINE_SET,
    RECORD_OR_SET_TAG,
    REST_OF_TAG,
    START,
    TERMINATORS,
    UNUSUAL,
    XML_ENCODING,
    RecordPatterns,
    hidden_record,
    holds_record,
    is_of_set,
    local_name,
    record_patterns,
)
from worker.readers.window import LONGEST_TOKEN, Window

MAX_STRAY_BYTES: Final = 2**20
"""How many bytes outside any record are kept for their failure."""

EXPECTED: Final = (
    "expected PubMed XML: a PubmedArticleSet of PubmedArticle, PubmedBookArticle or"
    " DeleteCitation, or a MedlineCitationSet of MedlineCitation"
)

# Encodings in which ASCII bytes mean ASCII: Python's prefix of the name, and libxml2's.
_ENCODINGS: Final = {
    "utf-8": "utf-8",
    "ascii": "us-ascii",
    "iso8859": "iso-8859",
    "cp125": "windows-125",
}
_QUICK_BYTES: Final = 2**18  # how far the fast path searches for a record or a tag
_TRUNCATED: Final = "the file is truncated; fetch it again"


class Frame(NamedTuple):
    """The bytes of one record in the file, and its element's name without prefix."""

    name: bytes
    data: bytes


class Framer:
    """Splits chunks of PubMed XML into frames, in order; bytes outside records give failures.

    `encoding` is the declared encoding of the last returned frame.
    """

    def __init__(
        self, chunks: Iterable[bytes], *, max_record_bytes: int = MAX_RECORD_BYTES
    ) -> None:
        """Prepare to split `chunks`; a record over `max_record_bytes` becomes a failure."""
        self.encoding = "utf-8"
        self._window = Window(chunks)
        self._limit = max_record_bytes
        self._stray = bytearray()
        self._stray_size = 0
        self._refusal: RecordError | None = None
        self._root_seen = False
        self._root_open = False
        self._truncated = False
        self._doctype_broken = False
        self._medline = True  # whether a MedlineCitation outside any record is a record
        self._start = START[self._medline]
        # By opening: markup that begins before this stream position is unclosed.
        self._unclosed_before: dict[bytes, int] = {}
        # No record begins or ends between these two stream positions; the flag says whether one
        # ends at the second.
        self._between = (0, 0, False)

    def __iter__(self) -> Iterator[Frame | Failure]:
        """Yield frames and failures in the order of the file."""
        self._check_beginning()
        records = 0
        while self._refusal is None:
            frame = self._next_fast()
            if frame is not None:
                records += 1
                yield frame
                continue
            name = self._cross_gap()
            if self._stray and name:
                yield self._take_stray()
            if not name:
                break
            records += 1
            yield self._next_thorough(name)
        yield from self._ending(records)

    def _check_beginning(self) -> None:
        window = self._window
        while window.size < 4 and window.fill():
            pass
        head = window.data[:4]
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or head.count(0) > 1:
            self._refuse("UTF-16 or UTF-32")

    def _refuse(self, encoding: str) -> None:
        self._refusal = RecordError(
            f"the file is in {encoding}; PubMed XML is read in UTF-8, ISO-8859 or windows-125x:"
            " convert the file to UTF-8 (iconv -t UTF-8) and correct its XML declaration"
        )

    def _next_fast(self) -> Frame | None:
        """Return the next record if the window contains all of it and it has no unusual markup."""
        window = self._window
        data = window.data
        start = self._start.match(data, window.start)
        if start is None or start[2] != b">":
            return None
        name = start[1]
        begin = start.start(1) - 1
        close = b"</" + name + b">"
        end = data.find(close, begin, begin + min(_QUICK_BYTES, self._limit))
        if end < 0 or UNUSUAL[name].search(data, begin + 1, end):
            return None
        window.start = end + len(close)
        return Frame(name, data[begin : window.start])

    def _next_thorough(self, tag: bytes) -> Frame | Failure:
        """Return the record at the start of the window, whatever its content and length."""
        window, name = self._window, local_name(tag)
        patterns = record_patterns(tag)
        if size := self._empty_size(tag):
            return Frame(name, window.take(size))
        pattern, position, fault = patterns.token, 1, f"has no end tag </{name.decode()}>"
        end_of_set = 0  # the record ends here, unless its end tag comes before the next record
        while True:
            token, at = window.search(pattern, position, self._limit)
            position = at + len(token)
            if token in TERMINATORS:
                position = self._markup_end(token, at)
                if not position:
                    fault = f"opens {token.decode()} and never closes it"
                    pattern, position = patterns.next, at
            elif is_of_set(token):
                end_of_set = end_of_set or at
            elif token.startswith(b"</"):
                return Frame(name, window.take(position))
            elif end_of_set or at > 0:
                size = end_of_set or self._after_stub(patterns, at)
                return parse_failure(RecordError(f"the record {fault}"), window.take(size))
            else:
                return self._unfinished(patterns, fault)

    def _after_stub(self, patterns: RecordPatterns, at: int) -> int:
        """Return `at`, where a record begins, or the position after it if it is a stray tag."""
        begin = self._look_ahead(at)
        stub = patterns.stub.match(self._window.data, begin, begin + LONGEST_HEAD)
        return at if stub is None else stub.end() - self._window.start

    def _look_ahead(self, position: int) -> int:
        """Read ahead beyond `position`; return its index in the window's data."""
        window = self._window
        while window.size < position + LONGEST_HEAD and window.fill():
            pass
        return window.start + position

    def _empty_size(self, tag: bytes) -> int:
        """Return the size of the record at the start of the window if it is one empty tag, else 0.

        A tag followed by the content of a record is a start tag, even if it ends in `/>`.
        """
        window = self._window
        size = self._tag_size(len(tag))
        if not window.data[window.start : window.start + size].endswith(b"/>"):
            return 0
        begin, child = self._look_ahead(size), record_patterns(tag).child
        return 0 if child.match(window.data, begin, begin + LONGEST_HEAD) else size

    def _markup_end(self, token: bytes, at: int) -> int:
        """Return the end of the markup that `token` opens at `at`.

        0 if it has no end, or extends over a record because it is unclosed.
        """
        window, terminator = self._window, TERMINATORS[token]
        if window.position + at < self._unclosed_before.get(token, 0):
            return 0
        begin = at + len(token)
        end = window.find(terminator, begin, self._limit)
        if end < 0:
            return 0
        hidden = hidden_record(window.data, window.start + begin, window.start + end)
        if hidden >= 0:
            self._unclosed_before[token] = window.position + hidden - window.start
            return 0
        return end + len(terminator)

    def _unfinished(self, patterns: RecordPatterns, fault: str) -> Failure:
        """Return the failure of a record without a known end, and move the window after it."""
        window = self._window
        if window.size < self._limit:
            self._truncated = True
            error = window.damage or RecordError(f"the last record {fault}: {_TRUNCATED}")
            return read_failure(error, window.take(window.size))
        payload = window.data[window.start : window.start + self._limit]
        size = len(window.take(max(0, self._limit - LONGEST_TOKEN)))
        while True:
            token = patterns.end_or_next.search(window.data, window.start)
            if token is not None:
                ended = token[0].startswith(b"</") and not is_of_set(token[0])
                end = token.end() if ended else token.start()
                size += len(window.take(end - window.start))
                break
            size += len(window.take(window.size - LONGEST_TOKEN))
            if not window.fill():
                size += len(window.take(window.size))
                break
        return oversize_failure(payload, self._limit, size)

    def _cross_gap(self) -> bytes:
        """Move to the next record and return the beginning of its tag; empty at the file's end.

        Skips white space, comments, processing instructions, byte order marks, the document type
        and the root's tags; keeps anything else as stray bytes, without surrounding white space
        but with markup among them: they may be a record whose tag is damaged.
        """
        window = self._window
        while self._refusal is None:
            token = GAP_TOKEN[self._medline].search(window.data, window.start)
            if token is None:
                self._keep_stray(max(0, window.size - LONGEST_TOKEN))
                if not window.fill():
                    self._keep_stray(window.size)
                    break
                continue
            self._keep_stray(token.start() - window.start)
            text = token[0]
            if text in TERMINATORS:
                self._skip_markup(text)
            elif text == BOM:
                self._skip_or_keep(len(text))
            elif text == b"<!DOCTYPE":
                # Only the first broken one is scanned: each scan may extend to the limit.
                size = 0 if self._doctype_broken else self._doctype_size()
                self._doctype_broken = self._doctype_broken or size == 0
                self._skip(size, text)
            elif text.endswith(b"Set"):
                self._pass_root(text)
            else:
                return text
        return b""

    def _keep_stray(self, size: int) -> None:
        data = self._window.take(size)
        data = data if self._stray else data.lstrip()
        self._stray += data[: MAX_STRAY_BYTES - len(self._stray)]
        self._stray_size += len(data)

    def _skip_or_keep(self, size: int) -> None:
        """Skip irrelevant markup; among stray bytes it is kept with them."""
        if self._stray:
            self._keep_stray(size)
        else:
            self._window.take(size)

    def _skip(self, size: int, token: bytes) -> None:
        """Skip `size` bytes; if that is 0 the construct has no end and `token` is stray."""
        if size:
            self._window.take(size)
        else:
            self._keep_stray(len(token))

    def _skip_markup(self, token: bytes) -> None:
        window = self._window
        size = self._markup_end(token, 0)
        holds_tag = window.data.find(b"<", window.start + 1, window.start + size) > 0
        if token == b"<?" and holds_tag and self._is_within_record(size):
            size = 0  # it was a start tag with a letter replaced by "?"
        declared = XML_ENCODING.match(window.data, window.start, window.start + size)
        if token == b"<![CDATA[" or not size:
            self._keep_stray(size or len(token))
        elif declared is None or self._declare(declared[1].decode("ascii")):
            self._skip_or_keep(size)
        else:
            self._keep_stray(size)

    def _is_within_record(self, at: int) -> bool:
        """Whether `at` is within a record by its end tag, although no start tag was found."""
        window = self._window
        first, last, ends = self._between
        if not first <= window.position + at < last:
            token, found = window.search(RECORD_OR_SET_TAG[self._medline], at, at + self._limit)
            ends = token.startswith(b"</") and not is_of_set(token)
            first = window.position + at
            last = window.position + (found if token else at + self._limit)
            self._between = (first, last, ends)
        return ends

    def _declare(self, encoding: str) -> bool:
        try:
            name = codecs.lookup(encoding).name
        except LookupError:
            name = ""
        for prefix, parsers in _ENCODINGS.items():
            if name.startswith(prefix):
                self.encoding = parsers + name.removeprefix(prefix).removesuffix("-sig")
                return True
        self._refuse(f"the encoding {encoding!r}")
        return False

    def _doctype_size(self) -> int:
        """Return the size of the document type at the start of the window.

        0 if it has no end, or ends only after the head of a record.
        """
        window, position, in_subset = self._window, len(b"<!DOCTYPE"), False
        while True:
            token, at = window.search(DOCTYPE_TOKEN, position, self._limit)
            if at < 0:
                return 0
            position = at + len(token)
            if token in (b"[", b"]"):
                in_subset = token == b"["
            elif token != b">":
                terminator = TERMINATORS.get(token, token)  # a quoted text ends at the same quote
                position = window.find(terminator, position, self._limit) + len(terminator)
                if position < len(terminator):
                    return 0
            elif not in_subset:
                end = self._look_ahead(position)
                return 0 if holds_record(window.data, window.start, end) else position

    def _pass_root(self, token: bytes) -> None:
        size = self._tag_size(len(token))
        tag = self._window.data[self._window.start : self._window.start + size]
        self._skip(size, token)
        self._root_seen = True
        self._root_open = not (token.startswith(b"</") or tag.endswith(b"/>"))
        if not token.startswith(b"</"):
            self._medline = local_name(token) == MEDLINE_SET
            self._start = START[self._medline]

    def _tag_size(self, position: int) -> int:
        """Return the size of the tag at the start of the window; 0 if it is malformed."""
        window, limit = self._window, min(_QUICK_BYTES, self._limit)
        while True:
            rest = REST_OF_TAG.match(window.data, window.start + position, window.start + limit)
            if rest is not None:
                return rest.end() - window.start
            if window.size >= limit or not window.fill():
                return 0

    def _take_stray(self) -> Failure:
        error = RecordError(
            f"these bytes are outside any record; {EXPECTED}{self._truncation_clause()}"
        )
        payload = bytes(self._stray.rstrip())
        self._stray.clear()
        self._stray_size = 0
        return parse_failure(error, payload)

    def _truncation_clause(self) -> str:
        """Return a clause with the number of stray bytes if not all are kept, else ""."""
        if self._stray_size <= MAX_STRAY_BYTES:
            return ""
        return f"; of {self._stray_size} bytes the first {MAX_STRAY_BYTES} are kept"

    def _ending(self, records: int) -> Iterator[Failure]:
        """Yield the failures at the end of the file, if any."""
        window = self._window
        if self._refusal is not None:
            self._keep_stray(window.size)
            while window.fill():
                self._keep_stray(window.size)
            error = RecordError(f"{self._refusal}{self._truncation_clause()}")
            yield read_failure(error, bytes(self._stray))
        elif self._truncated:
            return
        elif window.damage is not None:
            yield self._end_failure(str(window.damage), type(window.damage))
        elif self._root_open:
            yield self._end_failure(f"the root element has no end tag: {_TRUNCATED}")
        elif not records and not self._root_seen:
            yield self._end_failure(EXPECTED)
        elif self._stray:
            yield self._take_stray()

    def _end_failure(self, reason: str, kind: type[RecordError] = RecordError) -> Failure:
        error = kind(reason + self._truncation_clause())
        return read_failure(error, bytes(self._stray.rstrip()))
