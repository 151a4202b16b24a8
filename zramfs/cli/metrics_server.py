"""The process that serves the metrics of a mount: it reads the mount's files as any script can.

So no scrape has a part of the daemon's event loop but the answers to a few small reads, and whatever scrapers do hits
nobody else. It ends when its standard input does, with the daemon. One scrape at a time asks the daemon; those that
wait too long for their turn, as behind a daemon that is hung, are answered 503.
"""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
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
from zramfs.errors import MountFailed

_MOST_CONNECTIONS: Final = 16
_TURN_S: Final = 5.0
_CLIENT_S: Final = 10.0
_LONGEST_BYTES: Final = 1 << 16
_PATHS: Final = ("/", "/metrics")
_IGNORED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class OwnZramfs(MountedZramfs):
    """The mount of the daemon that started this process: its files need not be looked at before they are opened."""

    def _open(self, path: str, flags: int) -> int:
        folder, _, name = path.rpartition("/")
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._kept_folder(folder))

    def _read(self, path: str) -> str:
        fd = self._open(path, os.O_RDONLY)
        try:
            return os.read(fd, _LONGEST_BYTES).decode(errors="backslashreplace")
        finally:
            os.close(fd)


class MountReader:
    """Reports of one mount, for one scrape at a time."""

    def __init__(self, read: Callable[[], dict[str, Any]], turn_s: float = _TURN_S) -> None:
        self._read = read
        self._turn_s = turn_s
        self._turn = Lock()

    def __call__(self) -> Sequence[dict[str, Any]]:
        """Return the one report; MountFailed if there is none now."""
        if not self._turn.acquire(timeout=self._turn_s):
            raise MountFailed("the daemon does not answer")
        try:
            return [{**self._read(), "state": "live"}]
        except (OSError, LookupError, ValueError) as error:
            raise MountFailed(f"the mount cannot be read: {error}") from error
        finally:
            self._turn.release()


def application_of(reader: Callable[[], Sequence[dict[str, Any]]]) -> Application:
    """Return what answers scrapes: text of Prometheus, 404 for other paths, 503 with a line if there is none."""
    scrape: Any = make_wsgi_app(registry_of(reader), disable_compression=True)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in _PATHS:
            return _refuse(start_response, "404 Not Found", "metrics are at /metrics")
        try:
            answer: Iterable[bytes] = scrape(environ, start_response)
        except MountFailed as error:
            return _refuse(start_response, "503 Service Unavailable", str(error))
        return answer

    return application


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


def _read_own(mountpoint: Path) -> dict[str, Any]:
    return read_status(OwnZramfs(mountpoint), in_full=False)


def main() -> None:
    """Serve the mount at the first argument on the socket that is the second, until standard input ends."""
    mountpoint, fd = Path(sys.argv[1]), int(sys.argv[2])
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    listener = socket.socket(fileno=fd)
    server = MetricsServer(listener, application_of(MountReader(lambda: _read_own(mountpoint))))
    Thread(target=server.serve_forever, daemon=True).start()
    while os.read(0, 1):
        pass
    remove_socket(listener)
    os._exit(0)


if __name__ == "__main__":
    main()
