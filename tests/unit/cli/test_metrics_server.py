import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from status_reports import a_report

from zramfs.cli.listening import MetricsAddress, open_listener
from zramfs.cli.metrics_server import MetricsServer, Scrapes

Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[MetricsServer] = []

    def make(read: Callable[[], dict[str, Any]] = a_report, turn_s: float = 5.0, fresh_s: float = 0.0) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        server = MetricsServer(listener, Scrapes(read, turn_s=turn_s, fresh_s=fresh_s))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        port: int = listener.getsockname()[1]
        return port

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def get(port: int, path: str = "/metrics") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_scrape_is_text_of_prometheus(serve: Serve) -> None:
    status, text = get(serve())
    assert status == 200
    assert "zramfs_up" in {family.name for family in text_string_to_metric_families(text)}


def test_another_path_is_not_found(serve: Serve) -> None:
    assert get(serve(), "/else") == (404, "metrics are at /metrics\n")


def test_a_mount_that_cannot_be_read_is_503_and_read_again_next_time(serve: Serve) -> None:
    answers: list[Callable[[], dict[str, Any]]] = [a_report]

    def read() -> dict[str, Any]:
        if answers:
            return answers.pop()()
        raise OSError(107, "Transport endpoint is not connected")

    port = serve(read)
    assert get(port)[0] == 200
    status, line = get(port)
    assert (status, line.count("\n")) == (503, 1)
    answers.append(a_report)
    assert get(port)[0] == 200


def test_scrapes_in_quick_succession_are_told_the_same_and_the_mount_is_read_once(serve: Serve) -> None:
    reads: list[int] = []

    def read() -> dict[str, Any]:
        reads.append(1)
        return a_report()

    port = serve(read, fresh_s=60.0)
    assert get(port) == get(port)
    assert len(reads) == 1


def test_each_format_is_written_for_those_who_ask_for_it(serve: Serve) -> None:
    port = serve(fresh_s=60.0)
    plain, filtered = get(port)[1], get(port, "/metrics?name[]=zramfs_up")[1]
    assert "zramfs_data_bytes" in plain
    assert "zramfs_data_bytes" not in filtered
    assert get(port)[1] == plain


def test_scrapes_behind_a_hung_daemon_are_answered(serve: Serve) -> None:
    asked, released = threading.Event(), threading.Event()

    def read() -> dict[str, Any]:
        asked.set()
        released.wait(30)
        return a_report()

    port = serve(read, turn_s=0.05)
    first = threading.Thread(target=get, args=(port,))
    first.start()
    asked.wait(30)
    assert get(port) == (503, "the daemon does not answer\n")
    released.set()
    first.join()
    assert get(port)[0] == 200


def test_clients_that_say_nothing_do_not_keep_others_out(serve: Serve) -> None:
    port = serve()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    try:
        assert get(port)[0] == 200
    finally:
        for each in silent:
            each.close()


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = MetricsServer(open_listener(MetricsAddress(path=path)), Scrapes(a_report))
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        said = b"".join(iter(lambda: client.recv(1 << 16), b""))
    thread.join()
    server.server_close()
    assert said.startswith(b"HTTP/1.0 200")
    assert b"zramfs_up" in said
