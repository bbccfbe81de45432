"""The live report: served to this machine alone, made anew when a run has written something."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from hvdtrain.collect.report.html import content_policy
from hvdtrain.errors import InputError
from hvdtrain.runs.names import METRICS_FILE, PLAN_FILE, RECORD_FILE

HOST = "127.0.0.1"

_FILES = (PLAN_FILE, METRICS_FILE, RECORD_FILE)
# At any port: `ssh -L 8080:localhost:PORT` has the browser ask for localhost:8080.
_OWN_NAMES = re.compile(r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?")
# Longer than any honest request takes to send its line.
_TIMEOUT_SECONDS = 10


class ReportServer(ThreadingHTTPServer):
    """Serves a results folder on loopback.

    Loopback is shared by everybody on a login node, so the address has a secret part. The name
    that a browser asks for is checked too: a page of another site that lets its own name point
    here gets nothing.

    Args:
        results: Folder of all runs, read anew for every request.
        port: 0: any free one.
        render: The page of the results in their present state, which it is given.

    Raises:
        InputError: The port is taken.
    """

    daemon_threads = True

    def __init__(self, results: Path, port: int, render: Callable[[str], str]) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            fix = "--serve 0 takes any free port"
            raise InputError("--serve", port, f"a free port: {error.strerror}", fix) from None
        self.path = f"/{secrets.token_urlsafe(16)}/"
        self._results = results
        self._render = render
        self._lock = threading.Lock()
        self._state = ""
        self._page = b""

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.server_port}{self.path}"

    @property
    def state(self) -> str:
        """Changes whenever a file of a run does."""
        digest = hashlib.sha256()
        for fact in _facts(self._results):
            digest.update(fact.encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    @property
    def page(self) -> bytes:
        """The report, made anew only when there is something new."""
        with self._lock:
            state = self.state
            if state != self._state:
                self._page = self._render(state).encode()
                self._state = state
            return self._page


def _facts(results: Path) -> Iterator[str]:
    """Name, size and time of every file that the report shows."""
    try:
        folders = sorted(entry.path for entry in os.scandir(results) if entry.is_dir())
    except OSError:
        return
    for folder in folders:
        for name in _FILES:
            try:
                status = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            yield f"{folder}/{name}:{status.st_size}:{status.st_mtime_ns};"


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    timeout = _TIMEOUT_SECONDS
    server_version = "hvdtrain"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page, or with its state."""
        if not _OWN_NAMES.fullmatch(self.headers.get("Host", "")):
            self._answer(HTTPStatus.FORBIDDEN, b"ask for 127.0.0.1\n", "text/plain")
            return
        try:
            if self.path == self.server.path:
                self._answer(HTTPStatus.OK, self.server.page, "text/html")
            elif self.path == f"{self.server.path}state":
                self._answer(HTTPStatus.OK, self.server.state.encode(), "text/plain")
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"no such page\n", "text/plain")
        except InputError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n".encode(), "text/plain")

    def do_HEAD(self) -> None:
        """The same without the page."""
        self.do_GET()

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header(
            "Content-Security-Policy", f"{content_policy(True)}; frame-ancestors 'none'"
        )
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing: a line every few seconds is of no use to anybody."""
