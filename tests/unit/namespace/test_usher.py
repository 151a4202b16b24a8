import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from zramfs.namespace import wire
from zramfs.namespace.union import Union
from zramfs.namespace.usher import Made, Usher
from zramfs.namespace.wire import Operation, Request


class Kernel:
    """Asks an usher as the kernel does."""

    def __init__(self, usher: Usher) -> None:
        self._usher = usher

    def ask(self, operation: Operation, node: int, body: bytes = b"") -> bytes:
        return self._usher.answer(Request(operation, 1, node, os.getuid(), os.getgid(), body))

    def look_up(self, path: str) -> int:
        node = wire.ROOT_ID
        for name in path.split("/"):
            (node,) = struct.unpack_from("=Q", self.ask(Operation.LOOKUP, node, name.encode() + b"\0"))
        return node

    def read(self, path: str) -> bytes:
        node = self.look_up(path)
        (handle,) = struct.unpack_from("=Q", self.ask(Operation.OPEN, node, bytes(8)))
        text = self.ask(Operation.READ, node, struct.pack("=2Q2IQ2I", handle, 0, 4096, 0, 0, 0, 0))
        self.ask(Operation.RELEASE, node, struct.pack("=Q16x", handle))
        return text


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    (tmp_path / "lower").mkdir()
    return tmp_path / "lower"


@pytest.fixture
def kernel(tmp_path: Path, lower: Path) -> Iterator[Kernel]:
    (tmp_path / "upper").mkdir()
    fds = [os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in (tmp_path / "upper", lower)]
    texts = iter([b"one", b"two", b"three", b"four"])
    made = Made(Path(__file__).stat(), lambda: next(texts))
    yield Kernel(Usher({"dev": Union(*fds)}, {"made": made}))
    for fd in fds:
        os.close(fd)


def test_files_are_read_and_written_where_they_are(kernel: Kernel, lower: Path) -> None:
    (lower / "file").write_text("text")
    assert kernel.read("dev/file") == b"text"
    node = kernel.look_up("dev/file")
    (handle,) = struct.unpack_from("=Q", kernel.ask(Operation.OPEN, node, struct.pack("=2I", os.O_WRONLY, 0)))
    kernel.ask(Operation.WRITE, node, struct.pack("=2Q2IQ2I", handle, 2, 2, 0, 0, 0, 0) + b"ns")
    assert (lower / "file").read_text() == "tens"


def test_made_file_is_made_anew_each_time(kernel: Kernel) -> None:
    assert kernel.read("made") == b"two"  # once when it is opened, once when it is read from its beginning
    assert kernel.read("made") == b"four"


def test_same_name_is_the_same_node_until_something_else_is_there(kernel: Kernel, lower: Path) -> None:
    (lower / "name").write_text("")
    first = kernel.look_up("dev/name")
    assert kernel.look_up("dev/name") == first
    (lower / "name").unlink()
    (lower / "name").mkdir()
    assert kernel.look_up("dev/name") != first


def test_forgotten_node_is_stale(kernel: Kernel, lower: Path) -> None:
    (lower / "name").write_text("")
    node = kernel.look_up("dev/name")
    assert kernel.look_up("dev/name") == node
    kernel.ask(Operation.FORGET, node, struct.pack("=Q", 1))
    kernel.ask(Operation.GETATTR, node)
    kernel.ask(Operation.BATCH_FORGET, 0, struct.pack("=2I2Q", 1, 0, node, 1))
    with pytest.raises(OSError, match="Stale"):
        kernel.ask(Operation.GETATTR, node)


@pytest.mark.parametrize("name", ["nothing", "dev/nothing"])
def test_name_that_is_not_there_is_not_found(kernel: Kernel, name: str) -> None:
    with pytest.raises(FileNotFoundError):
        kernel.look_up(name)


def test_unknown_operation_is_not_implemented(kernel: Kernel) -> None:
    with pytest.raises(OSError, match="not implemented"):
        kernel.ask(47, wire.ROOT_ID)  # type: ignore[arg-type]


def test_folder_is_listed_in_portions(kernel: Kernel, lower: Path) -> None:
    for number in range(50):
        (lower / f"name{number:02}").write_text("")
    node = kernel.look_up("dev")
    (handle,) = struct.unpack_from("=Q", kernel.ask(Operation.OPENDIR, node, bytes(8)))
    found, offset = [], 0
    while listed := kernel.ask(Operation.READDIR, node, struct.pack("=2Q2IQ2I", handle, offset, 256, 0, 0, 0, 0)):
        while listed:
            _, offset, length, kind = struct.unpack_from("=2Q2I", listed)
            found.append((listed[24 : 24 + length].decode(), kind))
            listed = listed[24 + (length + 7) // 8 * 8 :]
    folders, files = stat.S_IFDIR >> 12, stat.S_IFREG >> 12
    assert found == [(".", folders), ("..", folders), *((f"name{number:02}", files) for number in range(50))]


@pytest.mark.parametrize("device", [os.makedev(7, 0), os.makedev(259, 1000), os.makedev(4095, 0xFFFFF)])
def test_device_number_survives_the_protocol(device: int) -> None:
    assert wire.decode_device(wire.encode_device(device)) == device
