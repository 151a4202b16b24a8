"""What the file system consists of: folders, links, attributes and block files, and what can be done with open ones."""

import os
import stat
from typing import Final, Protocol

from zramfs.fuse.announcements import KNOWN_FOR_S
from zramfs.fuse.attribute_file import AttributeFile
from zramfs.fuse.block_file import BlockFile


class OpenFile(Protocol):
    """A file from open to release. Receivers serve block files themselves, and do not come here."""

    async def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        """Return what is there, fewer bytes only at the end."""

    async def write(self, offset_bytes: int, data: bytes) -> int:
        """Take the data; how many bytes of it."""

    def flush(self) -> None:
        """Return when everything acknowledged is stored."""

    def release(self) -> None:
        """The last close."""


class Folder:
    """A directory: names to nodes."""

    mode: Final = stat.S_IFDIR | 0o755
    is_direct_io: Final = False
    size_bytes: Final = 0
    stored_blocks: Final = 0
    name_timeout_s: Final = KNOWN_FOR_S
    attributes_timeout_s: Final = KNOWN_FOR_S

    def __init__(self, entries: "dict[str, Node]") -> None:
        self.entries = entries


class SymbolicLink:
    """A link to another node, by its path."""

    mode: Final = stat.S_IFLNK | 0o777
    is_direct_io: Final = False
    stored_blocks: Final = 0
    name_timeout_s: Final = KNOWN_FOR_S
    attributes_timeout_s: Final = KNOWN_FOR_S

    def __init__(self, target: str) -> None:
        self.target = os.fsencode(target)
        self.size_bytes = len(self.target)


Node = Folder | SymbolicLink | AttributeFile | BlockFile
"""Anything that has an inode."""
