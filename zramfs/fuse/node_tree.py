"""Which nodes there are, by name and by inode number. Devices come and go, and their nodes with them."""

import errno
from collections.abc import Iterator
from typing import Final, NamedTuple

import pyfuse3
from pyfuse3 import FUSEError, InodeT

from zramfs.fuse.attribute_file import AttributeFile
from zramfs.fuse.nodes import Folder, Node

_FIRST_INODE: Final = pyfuse3.ROOT_INODE


class Twig(NamedTuple):
    """An entry of a folder, with all that is below it."""

    folder: Folder
    name: str


class NodeTree:
    """Every node below `root`. An inode number is never given twice: the kernel may still ask for one that has gone."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {}
        self._inodes: dict[Node, InodeT] = {}
        self._next_inode = _FIRST_INODE
        self.root = Folder({})
        self._number(self.root)

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, inode: InodeT) -> Node:
        """Return the node; ESTALE when it has gone, and the kernel then looks its name up anew."""
        node = self._nodes.get(inode)
        if node is None:
            raise FUSEError(errno.ESTALE)
        return node

    def folder(self, inode: InodeT) -> Folder:
        """Return the folder; ENOTDIR if the node is none."""
        node = self.node(inode)
        if not isinstance(node, Folder):
            raise FUSEError(errno.ENOTDIR)
        return node

    def inode(self, node: Node) -> InodeT:
        """Return the number of a node that is in the tree."""
        return self._inodes[node]

    def entries_behind(self, folder: Folder, inode: int) -> Iterator[tuple[str, Node]]:
        """List a folder's entries with a number above `inode`, in this order: it holds while others come or go."""
        return ((name, node) for name, node in folder.entries.items() if self._inodes[node] > inode)

    def graft(self, scion: Folder) -> list[Twig]:
        """Add the entries of `scion` to the root, and of its folders to those of the same name; return what is new."""
        return list(self._graft(self.root, scion))

    def _graft(self, folder: Folder, scion: Folder) -> Iterator[Twig]:
        for name, node in scion.entries.items():
            there = folder.entries.get(name)
            if isinstance(there, Folder) and isinstance(node, Folder):
                yield from self._graft(there, node)
            else:
                folder.entries[name] = node
                self._number(node)
                yield Twig(folder, name)

    def prune(self, twigs: list[Twig]) -> None:
        """Take entries away, and what is below them; an attribute that is still open answers ENODEV from now on."""
        for folder, name in twigs:
            for node in _walk(folder.entries.pop(name)):
                del self._nodes[self._inodes.pop(node)]
                if isinstance(node, AttributeFile):
                    node.is_gone = True

    def _number(self, top: Node) -> None:
        for node in _walk(top):
            inode = InodeT(self._next_inode)
            self._next_inode = InodeT(inode + 1)
            self._nodes[inode] = node
            self._inodes[node] = inode


def _walk(top: Node) -> Iterator[Node]:
    yield top
    if isinstance(top, Folder):
        for node in top.entries.values():
            yield from _walk(node)
