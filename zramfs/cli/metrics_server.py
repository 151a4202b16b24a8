"""The process that serves the metrics of a mount: it reads the mount's files as any script can.

So no scrape has a part of the daemon's event loop but the answers to a few small reads, and whatever scrapers do hits
nobody else. It ends when its standard input does, with the daemon. One scrape at a time asks the daemon, twice a second
at the most; those that wait too long for their turn, as behind a daemon that is hung, are answered 503.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from socketserver import BaseServer, ThreadingMixIn
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, Final
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from zramfs.cli.collector import registry_of
from zramfs.cli.listening import remove_socket
from zramfs.cli.mounted import MountedZramfs
from zramfs.cli.report import read_status
from zramfs.errors import ZramError

_MOST_CONNECTIONS: Final = 16
_TURN_S: Final = 5.0
_FRESH_S: Final = 0.5
"""How old an answer may be. A report and its text take 5 ms of CPU time, an answer that is there 0.5 ms."""

_MOST_ANSWERS: Final = 4
"""Ways to ask, such as the formats of Prometheus, whose answers are kept."""

_CLIENT_S: Final = 10.0
_PATHS: Final = ("/", "/metrics")
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Scrapes:
    """Answers scrapes with text of Prometheus, 404 for other paths, 503 with a line if there is none.

    `read` gives the report of the mount; it is asked by one scrape at a time, and not again for `fresh_s`: as many as
    ask meanwhile are told the same.
    """

    def __init__(
        self, read: Callable[[], dict[str, Any]], *, fresh_s: float = _FRESH_S, turn_s: float = _TURN_S
    ) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._turn_s = turn_s
        self._turn = Lock()
        self._reports: Sequence[dict[str, Any]] = ()
        self._stale_at_s = 0.0
        self._answers: dict[tuple[str, str], _Answer] = {}
        self._write: Any = make_wsgi_app(registry_of(lambda: self._reports), disable_compression=True)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one, as WSGI has it."""
        if environ["PATH_INFO"] not in _PATHS:
            return _refuse(start_response, "404 Not Found", "metrics are at /metrics")
        if not self._turn.acquire(timeout=self._turn_s):
            return _refuse(start_response, "503 Service Unavailable", "the daemon does not answer")
        try:
            status, headers, body = self._answer(environ)
        except (OSError, LookupError, ValueError, ZramError) as error:
            return _refuse(start_response, "503 Service Unavailable", f"the mount cannot be read: {error}")
        finally:
            self._turn.release()
        start_response(status, headers)
        return body

    def _answer(self, environ: dict[str, Any]) -> "_Answer":
        """Return what has been written for others who asked likewise, or write it."""
        if time.monotonic() >= self._stale_at_s:
            self._reports = [{**self._read(), "state": "live"}]
            self._stale_at_s = time.monotonic() + self._fresh_s
            self._answers.clear()
        asked = (environ.get("HTTP_ACCEPT", ""), environ.get("QUERY_STRING", ""))
        if asked not in self._answers:
            if len(self._answers) == _MOST_ANSWERS:
                self._answers.clear()
            self._answers[asked] = self._written(environ)
        return self._answers[asked]

    def _written(self, environ: dict[str, Any]) -> "_Answer":
        started: list[Any] = []
        body = list(self._write(environ, lambda *status_and_headers: started.extend(status_and_headers)))
        return (*started[:2], body)


_Answer = tuple[str, list[tuple[str, str]], list[bytes]]
"""Status, headers and body."""


def _refuse(start_response: Callable[..., Any], status: str, line: str) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{line}\n".encode()]


class _QuietHandler(ServerHandler):
    """Says nothing of clients that go away."""

    def log_exception(self, exc_info: Any) -> None:
        """Keep the log for what somebody can do something about."""


class _RequestHandler(WSGIRequestHandler):
    timeout = _CLIENT_S

    def handle(self) -> None:
        """Answer one request: a scraper that says nothing is let go of."""
        self.raw_requestline = self.rfile.readline(1 << 16)
        if not self.raw_requestline or not self.parse_request():
            return
        reads: Any = self.rfile  # whatever the library's types call it
        writes: Any = self.wfile
        handler = _QuietHandler(reads, writes, self.get_stderr(), self.get_environ(), multithread=False)
        handler.request_handler = self  # type: ignore[attr-defined]
        handler.run(self.server.get_app())  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the library
        """Log no scrapes."""


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Answers by threads, at most 16: whoever comes beyond is let go of at once."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, application: Application) -> None:
        BaseServer.__init__(self, listener.getsockname(), _RequestHandler)
        self.socket = listener
        self.address_family = listener.family
        self.server_name, self.server_port = "zramfs", 0
        self.setup_environ()
        self.set_app(application)
        self._places = BoundedSemaphore(_MOST_CONNECTIONS)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept; a client of a UNIX socket has no address, where the library wants one."""
        connection, address = self.socket.accept()
        return connection, address or ("local", 0)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread, if there is a place."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Give the place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that breaks."""


def main() -> None:
    """Serve the mount at the first argument on the socket that is the second, until standard input ends."""
    mountpoint, fd = Path(sys.argv[1]), int(sys.argv[2])
    mounted_at = cache(MountedZramfs)  # found with the first scrape: the daemon may have ended by now
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    listener = socket.socket(fileno=fd)
    server = MetricsServer(listener, Scrapes(lambda: read_status(mounted_at(mountpoint), in_full=False)))
    Thread(target=server.serve_forever, daemon=True).start()
    while os.read(0, 1):
        pass
    remove_socket(listener)
    os._exit(0)


if __name__ == "__main__":
    main()
