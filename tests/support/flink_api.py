"""A server that answers as Flink's REST API does, as far as pubner asks it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FlinkApi:
    """What the server answers, by path, and what it was asked.

    A job that is cancelled is in the state `cancelled` from then on.
    """

    address: str = ""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    cancelled: str = "CANCELED"

    def add_job(self, name: str, state: str, id: str, **tasks: int) -> None:
        """Let the cluster list a job; each later one started later."""
        start = len(self.jobs)
        self.jobs.append(
            {"name": name, "state": state, "jid": id, "start-time": start, "tasks": tasks}
        )


@contextmanager
def flink_api() -> Iterator[FlinkApi]:
    """Run the server on a free port until the block ends."""
    api = FlinkApi()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer("GET")

        def do_PATCH(self) -> None:
            self.answer("PATCH")
            for job in api.jobs:
                if self.path == f"/jobs/{job['jid']}?mode=cancel":
                    job["state"] = api.cancelled

        def answer(self, method: str) -> None:
            api.asked.append((method, self.path))
            found = api.answers.get(self.path)
            if self.path == "/jobs/overview":
                found = {"jobs": api.jobs}
            for job in api.jobs:
                if self.path in (f"/jobs/{job['jid']}", f"/jobs/{job['jid']}?mode=cancel"):
                    found = {"state": job["state"]}
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    api.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
