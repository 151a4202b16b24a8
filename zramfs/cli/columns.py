"""The columns of `zramfs status -o`: zramctl's names with zramctl's meanings, and ours."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

import click

from zramfs.cli.fitting import Heading
from zramfs.suggestions import did_you_mean
from zramfs.units import PAGE_SIZE, format_bytes

_ABSENT: Final = "-"

Kind = Literal["bytes", "count", "ratio", "text"]


class Column(NamedTuple):
    """A column: what it shows of a device of a mount (`report`), and how. `value` may find nothing to show."""

    name: str
    kind: Kind
    help: str
    value: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]

    @property
    def heading(self) -> Heading:
        """Return what is above it."""
        return Heading(self.name, is_text=self.kind == "text")

    def cell(self, mount: Mapping[str, Any], device: Mapping[str, Any], *, in_bytes: bool) -> str:
        """Return the text of a device's row; `-` for what it does not have."""
        try:
            value = self.value(mount, device)
        except (KeyError, TypeError):  # of a mount that has told nothing
            return _ABSENT
        if value is None or value == "":
            return _ABSENT
        if self.kind == "bytes":
            return str(value) if in_bytes else format_bytes(value)
        return f"{value:.2f}" if self.kind == "ratio" else str(value)


def _of_memory(name: str, unit: int = 1) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    return lambda _, device: device["mm_stat"][name] * unit


def state_of(mount: Mapping[str, Any], device: Mapping[str, Any]) -> str:
    """Return how a device is: `full` if the next page may not fit below its memory limit."""
    is_full = bool(device.get("mem_limit_stat", {}).get("is_full"))
    return "full" if mount["state"] == "live" and is_full else str(mount["state"])


_COLUMNS: Final = (
    Column("NAME", "text", "block file; of a mount that does not answer, its directory", lambda _, d: d["path"]),
    Column("DISKSIZE", "bytes", "limit on the uncompressed amount of data", lambda _, d: d["disksize"]),
    Column("DATA", "bytes", "uncompressed size of stored data", _of_memory("orig_data_size")),
    Column("COMPR", "bytes", "compressed size of stored data", _of_memory("compr_data_size")),
    Column("ALGORITHM", "text", "the selected compression algorithm", lambda _, d: d["algorithm"]),
    Column("STREAMS", "count", "number of per-CPU streams", lambda _, d: d["streams"]["percpu_streams"]),
    Column("ZERO-PAGES", "count", "pages filled with one value, which take no memory", _of_memory("same_pages")),
    Column("TOTAL", "bytes", "all memory of the pool, its overhead included", _of_memory("mem_used_total")),
    Column("MEM-LIMIT", "bytes", "memory limit used to store compressed data", _of_memory("mem_limit")),
    Column("MEM-USED", "bytes", "most memory that the pool has used", _of_memory("mem_used_max")),
    Column("MIGRATED", "count", "pages of memory freed by compaction", _of_memory("pages_compacted")),
    Column("MOUNTPOINT", "text", "where a loop device over it is mounted, or [SWAP]", lambda _, d: d["mounted_at"]),
    Column("RATIO", "ratio", "DATA over COMPR", lambda _, d: d["ratio"]),
    Column("OVERHEAD", "bytes", "TOTAL without COMPR", lambda _, d: d["overhead_bytes"]),
    Column("SAME", "bytes", "data in pages filled with one value", _of_memory("same_pages", PAGE_SIZE)),
    Column("HUGE", "bytes", "data in pages stored raw", _of_memory("huge_pages", PAGE_SIZE)),
    Column("LIMIT-HITS", "count", "pages that the memory limit kept out", lambda _, d: d["mem_limit_stat"]["hits"]),
    Column("FAILED-READS", "count", "reads that failed", lambda _, d: d["io_stat"]["failed_reads"]),
    Column("FAILED-WRITES", "count", "writes that failed", lambda _, d: d["io_stat"]["failed_writes"]),
    Column("IN-FLIGHT", "count", "requests that have no answer yet", lambda _, d: d["requests"]["in_flight"]),
    Column("POLICY", "text", "which streams writes use", lambda _, d: d["streams"]["policy"]),
    Column("ACCEL", "text", "profile of the accelerator", lambda _, d: d["accel"]["profile"]),
    Column("TRANSPORT", "text", "how requests arrive", lambda m, _: m["daemon"]["transport"]["transport"]),
    Column("PID", "count", "the daemon's process", lambda m, _: m["daemon"]["pid"]),
    Column("OWNER", "text", "who mounted it", lambda m, _: m["owner"]),
    Column("FOLDER", "text", "where the zramfs is mounted", lambda m, _: m["mountpoint"]),
    Column("STATE", "text", "live, full (at its memory limit), dead, hung, or failed", state_of),
)

BY_NAME: Final = {column.name: column for column in _COLUMNS}

DEFAULT: Final = tuple(
    BY_NAME[name] for name in ("NAME", "ALGORITHM", "DISKSIZE", "DATA", "COMPR", "RATIO", "TOTAL", "MEM-LIMIT", "STATE")
)

ALL: Final = _COLUMNS


def parse_columns(text: str) -> tuple[Column, ...]:
    """Read a list of columns, in any case; click.BadParameter for one that there is not."""
    names = [name.strip().upper() for name in text.split(",")]
    for name in names:
        if name not in BY_NAME:
            raise click.BadParameter(f"{name or 'nothing'!r} is no column: {did_you_mean(name, BY_NAME)}")
    return tuple(BY_NAME[name] for name in names)


def complete_columns(incomplete: str) -> list[str]:
    """Complete the last name of a list of columns, for shells."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in BY_NAME if name.startswith(last.upper())]


def help_of_columns() -> list[tuple[str, str]]:
    """Return the name of each and what it shows, for `--help` and the manual."""
    return [(column.name, column.help) for column in _COLUMNS]
