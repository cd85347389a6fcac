"""Cut PubMed XML into records at the level of bytes, so that one broken record harms no other.

An XML parser that reads a whole file stops at the first error and loses what follows. Here the
records are found by their tags (those in comments, CDATA sections, processing instructions and the
document type do not count) and each is parsed alone, later, from its original bytes. Memory is
bounded by the largest record, and that by a limit.
"""

import codecs
import re
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
from worker.readers.window import LONGEST_TOKEN, Window

MAX_STRAY_BYTES: Final = 2**20
"""How much of what stands outside any record is kept for its failure."""

EXPECTED: Final = (
    "expected PubMed XML: a PubmedArticleSet of PubmedArticle, PubmedBookArticle or DeleteCitation"
)

# Encodings in which ASCII bytes mean ASCII: Python's prefix of the name, and libxml2's.
_ENCODINGS: Final = {
    "utf-8": "utf-8",
    "ascii": "us-ascii",
    "iso8859": "iso-8859",
    "cp125": "windows-125",
}
_RECORD: Final = rb"(?:PubmedArticle|PubmedBookArticle|BookDocument|DeleteCitation|DeleteDocument)"
_ROOT: Final = rb"(?:PubmedArticleSet|PubmedBookArticleSet|BookDocumentSet)"
# A record never holds one of these, so inside one they are the start of the next.
_NEXT: Final = rb"<(?:PubmedArticle|PubmedBookArticle|DeleteCitation|DeleteDocument)[\s/>]"
_ATTRIBUTES: Final = rb"""(?:[^<>"']|"[^"]*"|'[^']*')*+>"""
_START = re.compile(rb"\s*<(" + _RECORD + rb")([\s/>])")
_REST_OF_TAG = re.compile(_ATTRIBUTES)
_GAP_TOKEN = re.compile(
    rb"<(?:!--|!\[CDATA\[|!DOCTYPE(?=[\s\[>])|\?|/?" + _ROOT + rb"(?=[\s/>])"
    rb"|" + _RECORD + rb"(?=[\s/>]))"
)
_RECORD_TOKEN = re.compile(rb"<!--|<!\[CDATA\[|<\?|</" + _RECORD + rb"\s{0,8}>|" + _NEXT)
_UNUSUAL = re.compile(rb"<(?:[!?]|Pubmed(?:Book)?Article[\s/>]|Delete(?:Citation|Document)[\s/>])")
_NEXT_RECORD = re.compile(_NEXT)
_END_OR_NEXT = re.compile(rb"</" + _RECORD + rb"\s{0,8}>|" + _NEXT)
_DOCTYPE_TOKEN = re.compile(rb"""["'\[\]>]|<!--|<\?""")
_XML_ENCODING = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._\-]+)["']""")
_NAMESPACE = re.compile(rb"""xmlns:[\w.\-]+\s*=\s*(?:"[^"<]*"|'[^'<]*')""")
_TERMINATORS: Final = {b"<!--": b"-->", b"<![CDATA[": b"]]>", b"<?": b"?>"}
_QUICK_BYTES: Final = 2**18  # how far the quick look for a record or a tag goes
_CUT: Final = "the file is cut; fetch it again"


class Frame(NamedTuple):
    """One record as it stands in the file: the name of its element, and its bytes."""

    name: bytes
    data: bytes


class Framer:
    """Cuts chunks of PubMed XML into frames, in order; what is no record comes as a failure.

    `encoding` is the declared encoding of the frame that came last, and `namespaces` are the
    prefixes that the root element declares for it, as attributes.
    """

    def __init__(
        self, chunks: Iterable[bytes], *, max_record_bytes: int = MAX_RECORD_BYTES
    ) -> None:
        """Prepare to cut `chunks`; a record over `max_record_bytes` becomes a failure."""
        self.encoding = "utf-8"
        self.namespaces = b""
        self._window = Window(chunks)
        self._limit = max_record_bytes
        self._stray = bytearray()
        self._refusal: RecordError | None = None
        self._root_seen = False
        self._root_open = False
        self._cut = False
        self._doctype_broken = False

    def __iter__(self) -> Iterator[Frame | Failure]:
        """Yield frames and failures in the order of the file."""
        self._check_beginning()
        records = 0
        while self._refusal is None:
            frame = self._next_plain()
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
            yield self._next_careful(name)
        yield from self._ending(records)

    def _check_beginning(self) -> None:
        window = self._window
        while window.size < 4 and window.fill():
            pass
        head = window.data[:4]
        if head.startswith(codecs.BOM_UTF8):
            window.take(len(codecs.BOM_UTF8))
        elif head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head:
            self._refuse("UTF-16 or UTF-32")

    def _refuse(self, encoding: str) -> None:
        self._refusal = RecordError(
            f"the file is in {encoding}; PubMed XML is read in UTF-8, ISO-8859 or windows-125x:"
            " convert the file to UTF-8 (iconv -t UTF-8) and correct its XML declaration"
        )

    def _next_plain(self) -> Frame | None:
        """Return the next record if it lies in the window whole and holds nothing unusual."""
        window = self._window
        data = window.data
        start = _START.match(data, window.start)
        if start is None or start[2] != b">":
            return None
        name = start[1]
        begin = start.start(1) - 1
        close = b"</" + name + b">"
        end = data.find(close, begin, begin + min(_QUICK_BYTES, self._limit))
        if end < 0 or _UNUSUAL.search(data, begin + 1, end):
            return None
        window.start = end + len(close)
        return Frame(name, data[begin : window.start])

    def _next_careful(self, name: bytes) -> Frame | Failure:
        """Return the record that begins the window, whatever it holds and however long it is."""
        window = self._window
        size = self._tag_size(len(name) + 1)
        if window.data[window.start : window.start + size].endswith(b"/>"):
            return Frame(name, window.take(size))
        pattern, position, fault = _RECORD_TOKEN, 1, f"has no end tag </{name.decode()}>"
        while True:
            token, at = window.search(pattern, position, self._limit)
            if at < 0:
                return self._unfinished(fault)
            position = at + len(token)
            if token in _TERMINATORS:
                terminator = _TERMINATORS[token]
                position = window.find(terminator, position, self._limit) + len(terminator)
                if position < len(terminator):
                    fault = f"opens {token.decode()} and never closes it"
                    pattern, position = _NEXT_RECORD, at
            elif not token.startswith(b"</"):
                return parse_failure(RecordError(f"the record {fault}"), window.take(at))
            elif token[2:-1].rstrip() == name:
                return Frame(name, window.take(position))

    def _unfinished(self, fault: str) -> Failure:
        """Return the failure of a record whose end was not found, and move behind it."""
        window = self._window
        if window.size < self._limit:
            self._cut = True
            error = window.damage or RecordError(f"the last record {fault}: {_CUT}")
            return read_failure(error, window.take(window.size))
        payload = window.data[window.start : window.start + self._limit]
        size = len(window.take(self._limit - LONGEST_TOKEN))
        while True:
            token = _END_OR_NEXT.search(window.data, window.start)
            if token is not None:
                end = token.end() if token[0].startswith(b"</") else token.start()
                size += len(window.take(end - window.start))
                break
            size += len(window.take(window.size - LONGEST_TOKEN))
            if not window.fill():
                size += len(window.take(window.size))
                break
        return oversize_failure(payload, self._limit, size)

    def _cross_gap(self) -> bytes:
        """Move to the next record and return its element's name; empty at the end of the file.

        Passes over white space, comments, processing instructions, the document type and the
        root's tags; keeps anything else as stray bytes, without the white space around it.
        """
        window = self._window
        while self._refusal is None:
            token = _GAP_TOKEN.search(window.data, window.start)
            if token is None:
                self._keep_stray(max(0, window.size - LONGEST_TOKEN))
                if not window.fill():
                    self._keep_stray(window.size)
                    break
                continue
            self._keep_stray(token.start() - window.start)
            text = token[0]
            if text in _TERMINATORS:
                self._skip_markup(text)
            elif text == b"<!DOCTYPE":
                # Of broken ones only the first is looked through: each may reach to the limit.
                size = 0 if self._doctype_broken else self._doctype_size()
                self._doctype_broken = self._doctype_broken or size == 0
                self._skip(size, text)
            elif text.endswith(b"Set"):
                self._pass_root(text)
            else:
                return text[1:]
        return b""

    def _keep_stray(self, size: int) -> None:
        data = self._window.take(size)
        data = data if self._stray else data.lstrip()
        self._stray += data[: MAX_STRAY_BYTES - len(self._stray)]

    def _skip(self, size: int, token: bytes) -> None:
        """Pass over `size` bytes; where that is 0 the construct has no end: `token` is stray."""
        if size:
            self._window.take(size)
        else:
            self._keep_stray(len(token))

    def _skip_markup(self, token: bytes) -> None:
        terminator = _TERMINATORS[token]
        size = self._window.find(terminator, len(token), self._limit) + len(terminator)
        if size < len(terminator):
            self._keep_stray(len(token))
        elif token == b"<![CDATA[":
            self._keep_stray(size)
        else:
            markup = self._window.take(size)
            declared = _XML_ENCODING.match(markup)
            if declared is not None and not self._declare(declared[1].decode("ascii")):
                self._stray += markup

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
        """Return the size of the document type that begins the window; 0 where it has no end."""
        window, position, in_subset = self._window, len(b"<!DOCTYPE"), False
        while True:
            token, at = window.search(_DOCTYPE_TOKEN, position, self._limit)
            if at < 0:
                return 0
            position = at + len(token)
            if token in (b"[", b"]"):
                in_subset = token == b"["
            elif token != b">":
                terminator = _TERMINATORS.get(token, token)  # of a quoted text, the same quote
                position = window.find(terminator, position, self._limit) + len(terminator)
                if position < len(terminator):
                    return 0
            elif not in_subset:
                return position

    def _pass_root(self, token: bytes) -> None:
        size = self._tag_size(len(token))
        tag = self._window.data[self._window.start : self._window.start + size]
        self._skip(size, token)
        self._root_seen = True
        self._root_open = not (token.startswith(b"</") or tag.endswith(b"/>"))
        if self._root_open:
            self.namespaces = b"".join(b" " + found for found in _NAMESPACE.findall(tag))

    def _tag_size(self, position: int) -> int:
        """Return the size of the tag that begins the window; 0 where it is not well formed."""
        window, limit = self._window, min(_QUICK_BYTES, self._limit)
        while True:
            rest = _REST_OF_TAG.match(window.data, window.start + position, window.start + limit)
            if rest is not None:
                return rest.end() - window.start
            if window.size >= limit or not window.fill():
                return 0

    def _take_stray(self) -> Failure:
        payload = bytes(self._stray.rstrip())
        self._stray.clear()
        error = RecordError(f"these bytes stand outside any record; {EXPECTED}")
        return parse_failure(error, payload)

    def _ending(self, records: int) -> Iterator[Failure]:
        """Yield the failure of the file's end, if there is one."""
        stray = bytes(self._stray.rstrip())
        if self._refusal is not None:
            while self._window.size < MAX_STRAY_BYTES and self._window.fill():
                pass
            held = self._window.take(MAX_STRAY_BYTES - len(stray))
            yield read_failure(self._refusal, stray + held)
        elif self._cut:
            return
        elif self._window.damage is not None:
            yield read_failure(self._window.damage, stray)
        elif self._root_open:
            yield read_failure(RecordError(f"the root element has no end tag: {_CUT}"), stray)
        elif not records and not self._root_seen:
            yield read_failure(RecordError(EXPECTED), stray)
        elif stray:
            yield self._take_stray()
