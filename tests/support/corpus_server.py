"""A real HTTP server on this machine that serves files, and breaks off where it is told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class CorpusServer:
    """What is served: `files` by path; and how it misbehaves, one item a request, in order.

    An item of `troubles` is a status to answer with, or a number of bytes after which the
    connection breaks off. `ranges` holds each request's `Range`.
    """

    files: dict[str, bytes]
    troubles: list[HTTPStatus | int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    knows_ranges: bool = True
    retry_after: str | None = None
    url: str = ""


@contextmanager
def serving(server: CorpusServer) -> Iterator[CorpusServer]:
    """Run `server` in a thread and set its `url`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(server, self)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def answer(server: CorpusServer, request: BaseHTTPRequestHandler) -> None:
    """Answer one request as `server` says."""
    wanted = request.headers.get("Range")
    server.ranges.append(wanted)
    trouble = server.troubles.pop(0) if server.troubles else None
    content = server.files.get(request.path)
    status = trouble if isinstance(trouble, HTTPStatus) else None
    if status is not None or content is None:
        request.send_response(status or 404)
        if server.retry_after is not None:
            request.send_header("Retry-After", server.retry_after)
        request.end_headers()
        return
    start = 0
    if wanted is not None and server.knows_ranges:
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.end_headers()
            return
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        request.send_response(200)
    request.send_header("Content-Length", str(len(content) - start))
    request.end_headers()
    request.wfile.write(content[start : trouble if trouble is None else start + trouble])
