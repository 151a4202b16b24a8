"""Cells that need no mount of a target's: the memory of a fresh one, and the block layer without FUSE."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cells import DISK_BYTES, MIB, VARIANTS, Cell, Settings
from process import Output, root_of_project

HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class MemoryCell(Cell):
    """What a fresh mount needs that stores a whole device of fio's data; `memory.py` measures it."""

    figure_of: Literal["ratio", "empty", "buffers"]

    @property
    def content(self) -> None:
        """Return that the devices of the targets stay as they are."""

    def before(self, block_file: Path, target: str) -> None:
        """Leave the devices of the targets alone."""

    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the command line of our script."""
        del block_file
        return [sys.executable, str(HERE / "memory.py"), str(DISK_BYTES), *settings.mount_commands[target]]

    def figure(self, output: Output, settings: Settings) -> float:
        """Return the resident memory without receivers' buffers over the compressed data, or MiB."""
        del settings
        seen: dict[str, int] = json.loads(output.stdout)
        if self.figure_of == "ratio":
            return (seen["resident_bytes"] - seen["buffers_bytes"]) / seen["data_bytes"]
        return seen[f"{self.figure_of}_bytes"] / MIB


@dataclass(frozen=True, kw_only=True)
class BlockLayerCell(Cell):
    """Threads that submit 4K bios of distinct pages to one disk, each on a CPU of its own; otherwise a single one."""

    threads: int

    @property
    def content(self) -> None:
        """Return that the devices of the targets stay as they are."""

    @property
    def obstacle(self) -> str | None:
        """Return whether there is a block layer that can be had by itself, and a CPU for each thread."""
        if not (root_of_project() / "zramfs/block/submission.pxd").exists():
            return "this zramfs has no block layer that works without FUSE"
        return None

    def before(self, block_file: Path, target: str) -> None:
        """Leave the devices of the targets alone."""

    def command(self, block_file: Path, settings: Settings, target: str) -> list[str]:
        """Return the command line of our script."""
        del block_file
        threads = 1 if target in VARIANTS else self.threads
        script = str(HERE / "block_layer.py")
        return [sys.executable, script, self.direction, str(threads), str(settings.runtime_s)]

    def figure(self, output: Output, settings: Settings) -> float:
        """Return thousands of requests a second, of all threads together."""
        del settings
        return float(json.loads(output.stdout)["requests_s"]) / 1e3
