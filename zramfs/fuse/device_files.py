"""The files of each device, from its coming to its removal, and what the kernel learns of them."""

from collections.abc import Awaitable, Callable
from functools import partial

from zramfs.contracts import Attribute, ControlTree, Link
from zramfs.device.device import ZramDevice
from zramfs.fuse.announcements import Announcements
from zramfs.fuse.attribute_file import AttributeFile
from zramfs.fuse.block_file import BlockFile
from zramfs.fuse.node_tree import NodeTree, Twig
from zramfs.fuse.nodes import Folder, Node, SymbolicLink


class DeviceFiles:
    """Watches a set of devices: grafts the files of each onto the tree, its control files as `device_tree` says."""

    def __init__(
        self, tree: NodeTree, announcements: Announcements, device_tree: Callable[[ZramDevice], ControlTree]
    ) -> None:
        self._tree = tree
        self._announcements = announcements
        self._device_tree = device_tree
        self._twigs: dict[ZramDevice, list[Twig]] = {}
        self._announced_sizes: dict[BlockFile, int] = {}

    def device_added(self, device: ZramDevice) -> None:
        """Let its files appear. The kernel remembers no name that it did not find, and needs no telling."""
        block_file = BlockFile(device)
        scion = make_folder(self._device_tree(device), partial(self._announce_size, block_file))
        scion.entries[device.name] = block_file
        self._twigs[device] = self._tree.graft(scion)
        self._announced_sizes[block_file] = block_file.size_bytes

    def device_removed(self, device: ZramDevice) -> None:
        """Let its files vanish; the kernel is told before the write that removed it returns."""
        twigs = self._twigs.pop(device)
        self._tree.prune(twigs)
        for folder, name in twigs:
            self._announcements.name_gone(self._tree.inode(folder), name)
        self._announced_sizes = {file: size for file, size in self._announced_sizes.items() if file.device != device}

    async def _announce_size(self, file: BlockFile) -> None:
        """Let the kernel, and loop devices over it, know the size of a block file that has just changed."""
        size_bytes = file.size_bytes
        if self._announced_sizes.get(file, size_bytes) == size_bytes:
            return
        self._announced_sizes[file] = size_bytes
        inode = self._tree.inode(file)
        self._announcements.size_changed(inode)
        await self._announcements.sent()
        await self._announcements.tell_loop_devices(inode, file.device.name)


def make_folder(tree: ControlTree, on_changed: Callable[[], Awaitable[None]]) -> Folder:
    """Return the nodes of control files; `on_changed` is awaited after a store that changes files."""
    return Folder({name: _make_node(entry, on_changed) for name, entry in tree.items()})


def _make_node(entry: Attribute | Link | ControlTree, on_changed: Callable[[], Awaitable[None]]) -> Node:
    if isinstance(entry, Attribute):
        return AttributeFile(entry, on_changed)
    return SymbolicLink(entry.target) if isinstance(entry, Link) else make_folder(entry, on_changed)
