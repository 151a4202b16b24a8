"""Status, top and metrics of real mounts, as people and scripts use them."""

import fcntl
import http.client
import json
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mounts import MIB, ZRAMFS, Mounted, kill_with_its_fusermount, zramfs
from prometheus_client.parser import text_string_to_metric_families

Mount = Callable[..., Mounted]

PATIENCE_S = 60.0


class Terminal:
    """A command in a terminal of so many columns."""

    def __init__(self, columns: int, *arguments: object) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
            own = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
            os.execve(ZRAMFS, [ZRAMFS, *map(str, arguments)], own)  # noqa: S606 - the child of a terminal
        self.text = ""

    def read_until(self, is_enough: Callable[[str], bool]) -> None:
        ends_at = time.monotonic() + PATIENCE_S
        while not is_enough(self.text) and time.monotonic() < ends_at:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    part = os.read(self.fd, 1 << 16)
                except OSError:  # EIO: nobody has the terminal any more
                    return
                self.text += part.decode(errors="replace")

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def end(self) -> int:
        """Read all that is said; the exit code."""
        self.read_until(lambda _: False)
        self.modes_left = termios.tcgetattr(self.fd)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def overview() -> dict[str, dict[str, Any]]:
    told = json.loads(zramfs("status", "--json").stdout)["mounts"]
    return {each["mountpoint"]: each for each in told}


def rows(*options: str) -> list[list[str]]:
    return [line.split(" ") for line in zramfs("status", "--raw", "-n", *options).stdout.splitlines()]


def fill_to_the_limit(mounted: Mounted) -> int:
    """Write until mem_limit keeps pages out; how many writes failed."""
    failures = 0
    with mounted.file.open("r+b", buffering=0) as file:
        for page in range(1024):
            try:
                os.pwrite(file.fileno(), os.urandom(4096), page * 4096)
            except OSError:
                failures += 1
    return failures


def test_every_mount_is_listed_dead_and_hung_ones_as_such(mount: Mount) -> None:
    living, dead, hung = mount(), mount(), mount()
    kill_with_its_fusermount(dead)
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        told = overview()
        states = {row[0]: row[1] for row in rows("-o", "NAME,STATE")}
    finally:
        os.kill(hung.pid, signal.SIGCONT)
    assert [told[str(each.path)]["state"] for each in (living, dead, hung)] == ["live", "dead", "hung"]
    assert (states[f"{living.path}/zram0"], states[str(dead.path)], states[str(hung.path)]) == ("live", "dead", "hung")


def test_columns_are_those_that_were_asked_for(mount: Mount) -> None:
    mounted = mount(size="64M")
    mounted.file.write_bytes(bytes(MIB))
    told = zramfs("status", mounted.path, "-o", "name,disksize,SAME,mountpoint", "--bytes", "--raw", "--noheadings")
    assert told.stdout == f"{mounted.path}/zram0 {64 * MIB} {MIB} -\n"
    headed = zramfs("status", mounted.path, "-o", "DATA").stdout.splitlines()
    assert [line.strip() for line in headed] == ["DATA", "1M"]
    unknown = zramfs("status", "-o", "DATUM")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)


def test_json_has_what_scripts_look_for(mount: Mount) -> None:
    mounted = mount("--mem-limit", "1M", size="16M")
    failures = fill_to_the_limit(mounted)
    status = mounted.status()
    device = status["devices"][0]
    assert status["mountpoint"] == str(mounted.path)
    assert status["daemon"]["transport"]["transport"] in ("dev", "uring")
    assert device["ratio"] == round(device["mm_stat"]["orig_data_size"] / device["mm_stat"]["compr_data_size"], 3)
    assert device["io_stat"]["failed_writes"] == failures > 0
    assert device["mem_limit_stat"] == {"limit_bytes": MIB, "is_full": 1, "hits": failures}


def test_a_full_limit_is_in_the_table_and_once_in_the_log(mount: Mount) -> None:
    mounted = mount("--mem-limit", "1M", size="16M")
    assert fill_to_the_limit(mounted) > 10
    states = {row[0]: row[1] for row in rows("-o", "NAME,STATE,LIMIT-HITS")}
    assert states[str(mounted.file)] == "full"
    assert "mem_limit is full" in zramfs("status", mounted.path).stdout
    assert mounted.log.read_text().count("mem_limit (1M) is reached") == 1
    mounted.attribute("mem_limit").write_text("2M")
    fill_to_the_limit(mounted)
    assert mounted.log.read_text().count("is reached") == 2


@pytest.mark.parametrize("columns", [60, 80])
def test_tables_fit_the_terminal(mount: Mount, columns: int) -> None:
    mounted = mount("--mem-limit", "100M", "--accel", "iaa", "--devices", "2", size="1T")
    with mounted.file.open("r+b", buffering=0) as file:
        file.write(os.urandom(8 * MIB))
    terminal = Terminal(columns, "status", mounted.path)
    assert terminal.end() == 0
    lines = terminal.text.replace("\r", "").splitlines()[1:]  # the first begins with the mount point, however long
    assert max(map(len, lines)) <= columns
    assert "8M" in terminal.text
    listed = Terminal(columns, "status")
    assert listed.end() == 0
    own = listed.text.replace("\r", "").splitlines()
    assert max(len(line) for line in own if "/" not in line) <= columns


@pytest.mark.parametrize("name", ["latency_stat", "stream_stat", "accel/stat", "mem_limit_stat"])
def test_counters_begin_anew_and_data_stays(mount: Mount, name: str) -> None:
    mounted = mount(size="64M")
    data = os.urandom(MIB)
    mounted.file.write_bytes(data)
    before = mounted.device()
    mounted.attribute(name).write_text("0\n")
    for junk in ("1", "", "x", "-0", "0 0"):
        if junk:
            with pytest.raises(OSError, match="Invalid argument"):
                mounted.attribute(name).write_text(junk)
    after = mounted.device()
    reset = {
        "latency_stat": lambda device: device["latency"]["write"]["requests"],
        "stream_stat": lambda device: device["streams"]["percpu_pages"] + device["streams"]["managed_pages"],
        "accel/stat": lambda device: device["accel"]["submitted_pages"] + device["accel"]["polled_pages"],
        "mem_limit_stat": lambda device: device["mem_limit_stat"]["hits"],
    }[name]
    assert reset(after) == 0
    assert after["mm_stat"]["orig_data_size"] == MIB
    assert after["requests"]["write"] == before["requests"]["write"]
    assert mounted.file.read_bytes()[:MIB] == data


def test_top_measures_an_interval(mount: Mount) -> None:
    mounted = mount(size="64M")
    writer = subprocess.Popen(["sh", "-c", f"while dd if=/dev/zero of={mounted.file} bs=1M count=8; do :; done"],
                              stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        told = json.loads(zramfs("top", mounted.path, "--once", "--json", "--interval", "0.5").stdout)
    finally:
        writer.kill()
        writer.wait()
    device = told["mounts"][0]["devices"][0]
    assert device["operations"]["write"]["bytes_per_second"] > 0
    assert device["operations"]["write"]["p99_us"] >= device["operations"]["write"]["p50_us"] > 0


@pytest.mark.parametrize("keys", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_top_ends_at_a_key_and_leaves_the_terminal_as_it_was(mount: Mount, keys: bytes) -> None:
    mounted = mount()
    terminal = Terminal(80, "top", mounted.path, "--interval", "0.1")
    terminal.read_until(lambda text: "fallback" in text)
    terminal.type(keys)
    assert terminal.end() == 0
    assert "\x1b[?1049l" in terminal.text
    assert terminal.modes_left[3] & termios.ICANON
    assert "Traceback" not in terminal.text


def test_top_ends_with_a_line_when_its_mount_goes(mount: Mount) -> None:
    mounted = mount()
    terminal = Terminal(80, "top", mounted.path, "--interval", "0.1")
    terminal.read_until(lambda text: "fallback" in text)
    os.kill(mounted.pid, signal.SIGTERM)
    mounted.wait_for_daemon_end()
    assert terminal.end() == 1
    last = terminal.text.rpartition("\x1b[?1049l")[2].strip()
    assert last.startswith("zramfs: ")
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("arguments", [["top"], ["top", "--json"], ["top", "--once", "--interval", "0"]])
def test_top_of_no_terminal_and_of_junk_is_bad_usage(arguments: list[str]) -> None:
    result = subprocess.run([ZRAMFS, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


def test_metrics_of_a_mount_are_text_of_prometheus(mount: Mount) -> None:
    mounted = mount(size="64M")
    families = list(text_string_to_metric_families(zramfs("metrics", mounted.path).stdout))
    sizes = next(family for family in families if family.name == "zramfs_size_bytes")
    assert [(each.labels["mountpoint"], each.value) for each in sizes.samples] == [(str(mounted.path), 64 * MIB)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def scrape(port: int) -> str:
    """Get the metrics, as soon as they are served."""
    ends_at = time.monotonic() + PATIENCE_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        except OSError:
            if time.monotonic() > ends_at:
                raise
        finally:
            connection.close()


def servers_of(mounted: Mounted) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"zramfs.cli.metrics_server" in command and str(mounted.path).encode() in command:
            found.append(int(entry.parent.name))
    return found


def wait_until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.02)


def test_metrics_are_served_while_the_mount_is_there(mount: Mount, tmp_path: Path) -> None:
    port = free_port()
    mounted = mount("--metrics", str(port))
    assert f'zramfs_up{{mountpoint="{mounted.path}"}} 1.0' in scrape(port)
    assert mounted.status()["daemon"]["metrics"] == f"127.0.0.1:{port}"
    second = tmp_path / "second"
    second.mkdir()
    refused = zramfs("mount", second, "--metrics", port, "--log-file", "/dev/null")
    assert (refused.returncode, refused.stderr) == (
        1,
        f"zramfs: cannot serve metrics at 127.0.0.1:{port}: it is in use\n",
    )
    assert zramfs("umount", mounted.path).returncode == 0
    wait_until(lambda: not servers_of(mounted))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_what_serves_metrics_ends_with_a_daemon_that_is_killed(mount: Mount) -> None:
    mounted = mount("--metrics", str(free_port()))
    wait_until(lambda: bool(servers_of(mounted)))
    os.kill(mounted.pid, signal.SIGKILL)
    wait_until(lambda: not servers_of(mounted))


def test_another_process_serves_metrics_when_one_is_killed(mount: Mount) -> None:
    port = free_port()
    mounted = mount("--metrics", str(port))
    scrape(port)
    (first,) = servers_of(mounted)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: servers_of(mounted) not in ([], [first]))
    assert "zramfs_up" in scrape(port)
    assert mounted.log.read_text().count("process that served metrics has ended") == 1


def test_scrapes_do_not_keep_a_mount_from_being_unmounted(mount: Mount) -> None:
    port = free_port()
    mounted = mount("--metrics", str(port))
    scrape(port)
    scraper = subprocess.Popen(["sh", "-c", f"while :; do curl -s http://127.0.0.1:{port}/metrics > /dev/null; done"])
    try:
        result = zramfs("umount", mounted.path)
    finally:
        scraper.kill()
        scraper.wait()
    assert result.returncode == 0, result.stderr
