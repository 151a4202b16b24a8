"""The process that serves a namespace's view: folders that are unions, and files that are made when they are read.

It looks anew at each request, and never waits for the daemon or for the keeper.
"""

import errno
import os
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from zramfs.namespace import wire
from zramfs.namespace.union import Found, Union
from zramfs.namespace.wire import Operation, Request

_STEADY_S: Final = 1
"""How long the kernel may go by what it knows of a character device (/dev/null, terminals): nothing follows from it."""

_SETATTR_IN: Final = struct.Struct("=2I6Q8I")
_BY_MODE, _BY_UID, _BY_GID, _BY_SIZE, _BY_ATIME, _BY_MTIME, _BY_ATIME_NOW, _BY_MTIME_NOW = (
    1 << bit for bit in (0, 1, 2, 3, 4, 5, 7, 8)
)
_MKNOD_IN: Final = struct.Struct("=4I")
_MKDIR_IN: Final = struct.Struct("=2I")
_FORGET_ONE: Final = struct.Struct("=2Q")
_TRANSFER_IN: Final = struct.Struct("=2Q2IQ2I")
_OPEN_OUT: Final = struct.Struct("=QIi")
_STATFS_OUT: Final = struct.Struct("=5Q3I28x")
_DIRECT_IO: Final = 1


@dataclass(frozen=True, slots=True)
class Made:
    """A file whose text is made when it is opened, and anew when it is read from its beginning."""

    status: os.stat_result
    make: Callable[[], bytes]


@dataclass(slots=True)
class _Node:
    """A name that the kernel knows: which place of the view, the path in it, and how often it was told of it."""

    place: str
    path: str
    key: tuple[object, ...] = ()
    lookups: int = 0


@dataclass(slots=True)
class _Opened:
    """An open file or folder: a descriptor, the text of a made file, or a listing."""

    fd: int = -1
    text: bytes = b""
    names: list[tuple[str, int]] = field(default_factory=list)


class Usher:
    """Answers requests about `unions` and `made` files, all of which stand by their names in the view's root."""

    def __init__(self, unions: Mapping[str, Union], made: Mapping[str, Made]) -> None:
        self._unions = unions
        self._made = made
        self._root_status = Path("/").stat()
        self._nodes = {wire.ROOT_ID: _Node("", ".")}
        self._ids: dict[tuple[object, ...], int] = {}
        self._last_id = wire.ROOT_ID
        self._opened: dict[int, _Opened] = {}
        self._last_handle = 0
        self._handlers: dict[int, Callable[[Request, _Node], bytes]] = {
            Operation.LOOKUP: self._lookup,
            Operation.FORGET: self._forget,
            Operation.GETATTR: self._getattr,
            Operation.SETATTR: self._setattr,
            Operation.READLINK: self._readlink,
            Operation.SYMLINK: self._symlink,
            Operation.MKNOD: self._mknod,
            Operation.MKDIR: self._mkdir,
            Operation.UNLINK: self._unlink,
            Operation.RMDIR: self._unlink,
            Operation.RENAME: self._rename,
            Operation.OPEN: self._open,
            Operation.READ: self._read,
            Operation.WRITE: self._write,
            Operation.STATFS: self._statfs,
            Operation.RELEASE: self._release,
            Operation.OPENDIR: self._opendir,
            Operation.READDIR: self._readdir,
            Operation.RELEASEDIR: self._release,
        }

    def answer(self, request: Request) -> bytes:
        """Answer a request; OSError is the answer to what cannot be."""
        if request.operation == Operation.BATCH_FORGET:  # of no node: it names its own
            return self._forget_many(request)
        handler = self._handlers.get(request.operation)
        if handler is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        node = self._nodes.get(request.node)
        if node is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return handler(request, node)

    # ---- names ---------------------------------------------------------------------------------------------------

    def _lookup(self, request: Request, node: _Node) -> bytes:
        return self._entry(*self._child(node, _first_name(request.body)))

    def _child(self, node: _Node, name: str) -> tuple[str, str]:
        if node.place:
            return node.place, name if node.path == "." else f"{node.path}/{name}"
        if name in self._unions or name in self._made:
            return name, "."
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    def _entry(self, place: str, path: str) -> bytes:
        status = self._status(place, path)
        key = (place, path, stat.S_IFMT(status.st_mode), status.st_rdev, status.st_dev, status.st_ino)
        number = self._ids.get(key)
        if number is None:
            self._last_id += 1
            number = self._ids[key] = self._last_id
            self._nodes[number] = _Node(place, path, key)
        self._nodes[number].lookups += 1
        return wire.entry(number, status, _STEADY_S if stat.S_ISCHR(status.st_mode) else 0)

    def _status(self, place: str, path: str) -> os.stat_result:
        if union := self._unions.get(place):
            return union.find(path).status
        if made := self._made.get(place):
            return made.status
        return self._root_status

    def _forget(self, request: Request, _node: _Node) -> bytes:
        self._let_go(request.node, *struct.unpack_from("=Q", request.body))
        return b""

    def _forget_many(self, request: Request) -> bytes:
        (count,) = struct.unpack_from("=I", request.body)
        for number in range(count):
            self._let_go(*_FORGET_ONE.unpack_from(request.body, 8 + number * _FORGET_ONE.size))
        return b""

    def _let_go(self, number: int, lookups: int) -> None:
        node = self._nodes.get(number)
        if node is None or number == wire.ROOT_ID:
            return
        node.lookups -= lookups
        if node.lookups <= 0:
            del self._nodes[number]
            self._ids.pop(node.key, None)

    # ---- attributes ----------------------------------------------------------------------------------------------

    def _getattr(self, request: Request, node: _Node) -> bytes:
        return struct.pack("=QII", 0, 0, 0) + wire.attributes(request.node, self._status(node.place, node.path))

    def _setattr(self, request: Request, node: _Node) -> bytes:
        valid, _, _, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = _SETATTR_IN.unpack_from(
            request.body
        )
        found = self._union(node).copy_up(node.path)
        if valid & _BY_SIZE:
            fd = _open_found(found, os.O_WRONLY)
            try:
                os.ftruncate(fd, size)
            finally:
                os.close(fd)
        if valid & (_BY_UID | _BY_GID):
            owner = (uid if valid & _BY_UID else -1, gid if valid & _BY_GID else -1)
            os.chown(found.path, *owner, dir_fd=found.folder, follow_symlinks=False)
        if valid & _BY_MODE:
            os.chmod(found.path, stat.S_IMODE(mode), dir_fd=found.folder)
        if valid & (_BY_ATIME | _BY_MTIME) and not valid & (_BY_ATIME_NOW | _BY_MTIME_NOW):
            moments = (atime * 10**9 + atime_ns, mtime * 10**9 + mtime_ns)
            os.utime(found.path, ns=moments, dir_fd=found.folder, follow_symlinks=False)
        return self._getattr(request, node)

    def _readlink(self, _request: Request, node: _Node) -> bytes:
        found = self._union(node).find(node.path)
        return os.fsencode(os.readlink(found.path, dir_fd=found.folder))

    def _statfs(self, _request: Request, _node: _Node) -> bytes:
        return _STATFS_OUT.pack(0, 0, 0, 0, 0, 4096, 255, 4096)

    def _union(self, node: _Node) -> Union:
        union = self._unions.get(node.place)
        if union is None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), node.place)
        return union

    # ---- changes -------------------------------------------------------------------------------------------------

    def _symlink(self, request: Request, node: _Node) -> bytes:
        name, target = _names(request.body)
        place, path = self._child(node, name)
        self._union(node).make_link(path, target, (request.uid, request.gid))
        return self._entry(place, path)

    def _mknod(self, request: Request, node: _Node) -> bytes:
        mode, device, _, _ = _MKNOD_IN.unpack_from(request.body)
        place, path = self._child(node, _first_name(request.body[_MKNOD_IN.size :]))
        self._union(node).make(path, mode, wire.decode_device(device), (request.uid, request.gid))
        return self._entry(place, path)

    def _mkdir(self, request: Request, node: _Node) -> bytes:
        mode, _ = _MKDIR_IN.unpack_from(request.body)
        place, path = self._child(node, _first_name(request.body[_MKDIR_IN.size :]))
        self._union(node).make_folder(path, stat.S_IMODE(mode), (request.uid, request.gid))
        return self._entry(place, path)

    def _unlink(self, request: Request, node: _Node) -> bytes:
        _, path = self._child(node, _first_name(request.body))
        self._union(node).remove(path)
        return b""

    def _rename(self, request: Request, node: _Node) -> bytes:
        (new_folder,) = struct.unpack_from("=Q", request.body)
        old, new = _names(request.body[8:])
        _, old_path = self._child(node, old)
        new_place, new_path = self._child(self._nodes[new_folder], new)
        if new_place != node.place:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        self._union(node).rename(old_path, new_path)
        return b""

    # ---- contents ------------------------------------------------------------------------------------------------

    def _open(self, request: Request, node: _Node) -> bytes:
        if made := self._made.get(node.place):
            return self._opened_as(_Opened(text=made.make()))
        (flags,) = struct.unpack_from("=I", request.body)
        return self._opened_as(_Opened(fd=_open_found(self._union(node).find(node.path), flags & os.O_ACCMODE)))

    def _opendir(self, _request: Request, node: _Node) -> bytes:
        return self._opened_as(_Opened(names=self._list(node)))

    def _list(self, node: _Node) -> list[tuple[str, int]]:
        if node.place:
            names = self._union(node).names(node.path)
        else:
            names = [(name, stat.S_IFDIR) for name in self._unions] + [(name, stat.S_IFREG) for name in self._made]
        return [(".", stat.S_IFDIR), ("..", stat.S_IFDIR), *names]

    def _opened_as(self, opened: _Opened) -> bytes:
        self._last_handle += 1
        self._opened[self._last_handle] = opened
        return _OPEN_OUT.pack(self._last_handle, 0 if opened.names else _DIRECT_IO, 0)

    def _read(self, request: Request, node: _Node) -> bytes:
        handle, offset, size, *_ = _TRANSFER_IN.unpack_from(request.body)
        opened = self._opened[handle]
        if opened.fd >= 0:
            return os.pread(opened.fd, size, offset)
        if offset == 0:
            opened.text = self._made[node.place].make()
        return opened.text[offset : offset + size]

    def _write(self, request: Request, _node: _Node) -> bytes:
        handle, offset, size, *_ = _TRANSFER_IN.unpack_from(request.body)
        data = request.body[_TRANSFER_IN.size :][:size]
        return struct.pack("=2I", os.pwrite(self._opened[handle].fd, data, offset), 0)

    def _readdir(self, request: Request, node: _Node) -> bytes:
        handle, offset, size, *_ = _TRANSFER_IN.unpack_from(request.body)
        opened = self._opened[handle]
        if offset == 0:  # rewound, perhaps
            opened.names = self._list(node)
        return wire.entries(opened.names, offset, size)

    def _release(self, request: Request, _node: _Node) -> bytes:
        (handle,) = struct.unpack_from("=Q", request.body)
        opened = self._opened.pop(handle)
        if opened.fd >= 0:
            os.close(opened.fd)
        return b""


def _open_found(found: Found, flags: int) -> int:
    return os.open(found.path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=found.folder)


def _names(body: bytes) -> tuple[str, str]:
    first, second, *_ = body.split(b"\0")
    return os.fsdecode(first), os.fsdecode(second)


def _first_name(body: bytes) -> str:
    return os.fsdecode(body.partition(b"\0")[0])
