"""Another user's daemon that looks like a zramfs, and is out for what root can open.

    python hostile_daemon.py MOUNTPOINT VICTIM

It is mounted as fusermount3 would mount it for user 65534 with allow_other. `zram0`, zram1's attributes and others lead
to VICTIM. Whoever looks for `zram9` has no answer, and cannot even be killed. To whoever lets it
connect as a keeper it says what it reads from its stdin, a line at a time, and prints the answers.
"""

# ruff: noqa: ARG002 - pyfuse3's signatures

import errno
import os
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyfuse3
import trio

NOBODY = 65534
ENDLESS = "endless"
HUNG = b"zram9"

VERSION = "0.1\x1b[31m\x1b]0;title\x07[bold]\r\n"


@dataclass(eq=False)
class Node:
    """A folder, a file or a link."""

    mode: int
    text: str = ""
    entries: "dict[str, Node]" = field(default_factory=dict)


def folder(**entries: Node) -> Node:
    return Node(stat.S_IFDIR | 0o777, entries={name.replace("_", "-"): node for name, node in entries.items()})


def file(text: str = "") -> Node:
    return Node(stat.S_IFREG | 0o666, text)


def link(target: str) -> Node:
    return Node(stat.S_IFLNK | 0o777, target)


def tree(victim: str) -> Node:
    zramfs = folder(pid=file("1\n"), version=file(VERSION), keeper=file("0\n"))
    zramfs.entries["rss_bytes"] = file(ENDLESS)
    zramfs.entries["memory_locked"] = link(victim)
    zramfs.entries["oom_protected"] = file("1\n")
    attributes = folder(initstate=file("1\n"), disksize=file("1048576\n"))
    return folder(
        zram0=link(victim),
        zram1=file("x" * 65536),
        zram2=link("../" * 40 + victim.lstrip("/")),
        sys=folder(
            block=folder(zram0=attributes, zram1=attributes, zram2=attributes, zram01=attributes),
            fs=folder(zramfs=zramfs),
            **{"class": folder(zram_control=folder())},
        ),
    )


class Hostile(pyfuse3.Operations):
    """Serves the tree."""

    def __init__(self, root: Node) -> None:
        super().__init__()
        self._nodes = [root, root]
        self._keeper = root.entries["sys"].entries["fs"].entries["zramfs"].entries["keeper"]

    def _attributes(self, node: Node) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        if node not in self._nodes:
            self._nodes.append(node)
        entry.st_ino = self._nodes.index(node, 1)
        entry.st_mode = node.mode
        entry.st_nlink = 1
        entry.st_uid = entry.st_gid = NOBODY
        entry.st_size = len(node.text) if not stat.S_ISDIR(node.mode) else 0
        return entry

    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        if name == HUNG:
            print("is looked for", flush=True)
            await trio.sleep_forever()
        node = self._nodes[parent_inode].entries.get(os.fsdecode(name))
        if node is None:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._attributes(node)

    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._attributes(self._nodes[inode])

    async def setattr(self, inode: int, attr: Any, fields: Any, fh: Any, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._attributes(self._nodes[inode])

    async def readlink(self, inode: int, ctx: Any) -> bytes:
        return self._nodes[inode].text.encode()

    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        return pyfuse3.StatvfsData()

    async def opendir(self, inode: int, ctx: Any) -> int:
        return inode

    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        for number, (name, node) in enumerate(self._nodes[fh].entries.items(), 1):
            if number > start_id and not pyfuse3.readdir_reply(token, name.encode(), self._attributes(node), number):
                return

    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=inode, direct_io=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        text = self._nodes[fh].text
        return b"9" * size if text == ENDLESS else text.encode()[off : off + size]

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        if self._nodes[fh] is self._keeper:
            keeper = await trio.open_unix_socket(buf.decode().strip())
            trio.lowlevel.spawn_system_task(talk, keeper)
        return len(buf)


async def talk(keeper: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError):
        for line in sys.stdin:
            await keeper.send_all(line.encode())
            print(await keeper.receive_some(4096), flush=True)
    await keeper.aclose()


async def main() -> None:
    mountpoint, victim = sys.argv[1:3]
    os.setresgid(NOBODY, 0, 0)
    os.setresuid(NOBODY, 0, 0)  # whom the kernel notes as the owner, and who may mount
    pyfuse3.init(Hostile(tree(victim)), mountpoint, {"fsname=zramfs", "subtype=zramfs", "allow_other", "nosuid,nodev"})
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    print("ready", flush=True)
    await pyfuse3.main()


trio.run(main)
