import errno

import pyfuse3
import pytest

from zramfs.contracts import Attribute
from zramfs.fuse.attribute_file import AttributeFile
from zramfs.fuse.node_tree import NodeTree
from zramfs.fuse.nodes import Folder


async def _nothing() -> None:
    """Announce nothing."""


def a_file() -> AttributeFile:
    return AttributeFile(Attribute(mode=0o444, show=lambda: "x"), _nothing)


def scion(name: str) -> Folder:
    return Folder({"sys": Folder({"block": Folder({name: Folder({"size": a_file()})})}), name: a_file()})


def names(tree: NodeTree, *path: str) -> list[str]:
    folder = tree.root
    for name in path:
        entry = folder.entries[name]
        assert isinstance(entry, Folder)
        folder = entry
    return [name for name, _ in tree.entries_behind(folder, 0)]


def test_graft_joins_folders_of_the_same_name() -> None:
    tree = NodeTree()
    tree.graft(scion("zram0"))
    twigs = tree.graft(scion("zram1"))
    assert [twig.name for twig in twigs] == ["zram1", "zram1"]
    assert names(tree) == ["sys", "zram0", "zram1"]
    assert names(tree, "sys", "block") == ["zram0", "zram1"]


def test_prune_takes_away_what_the_graft_has_brought() -> None:
    tree = NodeTree()
    tree.graft(scion("zram0"))
    size_before = len(tree)
    tree.prune(tree.graft(scion("zram1")))
    assert len(tree) == size_before
    assert names(tree) == ["sys", "zram0"]
    assert names(tree, "sys", "block") == ["zram0"]


def test_inode_numbers_are_never_given_twice() -> None:
    tree = NodeTree()
    seen = set()
    for _ in range(3):
        twigs = tree.graft(scion("zram0"))
        inode = tree.inode(tree.root.entries["zram0"])
        assert inode not in seen
        seen.add(inode)
        tree.prune(twigs)
        with pytest.raises(pyfuse3.FUSEError) as raised:
            tree.node(inode)
        assert raised.value.errno == errno.ESTALE


def test_listing_goes_on_behind_an_entry_that_has_gone() -> None:
    tree = NodeTree()
    first = tree.graft(Folder({"a": a_file()}))
    tree.graft(Folder({"b": a_file()}))
    last_seen = tree.inode(tree.root.entries["a"])
    tree.prune(first)
    assert [name for name, _ in tree.entries_behind(tree.root, last_seen)] == ["b"]
