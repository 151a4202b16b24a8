"""Reads recordings of requests: zramfs's own trace, blkparse's text, fio's iolog (versions 2 and 3), and CSV.

Lines that are no reads or writes of data (discards, opens, other steps of a request) are skipped, and counted.
Arrivals are sorted: some recorders write a line when a request ends.
"""

import json
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import index
from pathlib import Path
from typing import Final, NamedTuple

from zramfs.errors import InvalidValue
from zramfs.simulate.flows import ASYNC_WRITE, READ, SYNC_WRITE
from zramfs.simulate.load_kinds import Trace
from zramfs.units import PAGE_SIZE, SECTOR_SIZE

_NS_PER_US: Final = 1000
_NS_PER_S: Final = 1_000_000_000
_MOST_BYTES: Final = 1 << 30
_MOST_NS: Final = 1 << 62
"""Before and after 0, so that two times are less than 2^63 ns apart."""


class _Entry(NamedTuple):
    """A request: when (ns), how many bytes from where, and its kind."""

    at_ns: int
    offset_bytes: int
    size_bytes: int
    kind: int


_Line = Callable[[str], _Entry | None]
"""Makes a request of a line, or None if it is none; ValueError, KeyError and their like for junk."""


def load_trace(path: Path, name: str = "auto") -> Trace:
    """Read a recording in one of TRACE_FORMATS; InvalidValue names the line that is wrong."""
    entries: list[_Entry] = []
    skipped = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = iter(file)
            first = next(lines, "")
            chosen = _guess(first) if name == "auto" else name
            for entry in _entries(chosen, first, lines):
                if entry is None:
                    skipped += 1
                else:
                    entries.append(entry)
    except UnicodeDecodeError as error:
        raise InvalidValue(f"{path} is not text: of a binary trace, give what blkparse prints") from error
    except OSError as error:
        raise InvalidValue(f"{path} cannot be read: {error.strerror}") from error
    except InvalidValue as error:
        raise InvalidValue(f"{path}: {error}") from error
    if not entries:
        raise InvalidValue(f"{path}: there is no read or write in it")
    return _trace_of(entries, skipped)


def _trace_of(entries: list[_Entry], skipped: int) -> Trace:
    entries.sort(key=lambda entry: entry.at_ns)
    first_ns = entries[0].at_ns
    return Trace(
        arrivals_ns=array("q", (entry.at_ns - first_ns for entry in entries)),
        pages=array("i", (_pages_of(entry) for entry in entries)),
        kinds=bytes(entry.kind for entry in entries),
        skipped=skipped,
    )


def _pages_of(entry: _Entry) -> int:
    """How many pages a request touches: partial ones count as whole."""
    return -(-(entry.offset_bytes % PAGE_SIZE + entry.size_bytes) // PAGE_SIZE)


def _entries(name: str, first: str, lines: Iterator[str]) -> Iterator[_Entry | None]:
    parse = _FORMATS[name](first)
    for number, line in enumerate(_chain(first, lines), start=1):
        if not line.strip():
            continue
        try:
            entry = parse(line)
        except (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidValue(f"line {number} is none of {name}: {line.strip()[:80]!r}") from error
        if entry is not None and abs(entry.at_ns) > _MOST_NS:
            raise InvalidValue(f"line {number}: its time is more than {_MOST_NS / _NS_PER_S:.2g} s")
        if entry is not None and not (0 < entry.size_bytes <= _MOST_BYTES and entry.offset_bytes >= 0):
            raise InvalidValue(f"line {number}: {entry.size_bytes} bytes from {entry.offset_bytes}")
        yield entry


def _chain(first: str, lines: Iterable[str]) -> Iterator[str]:
    yield first
    yield from lines


def _guess(first: str) -> str:
    """Tell a format by its first line."""
    if first.startswith("{"):
        return "zramfs"
    if first.startswith("fio version"):
        return "fio"
    return "blkparse" if _BLKPARSE.match(first) else "csv"


# ---- the formats -----------------------------------------------------------------------------------------------------


def _zramfs(first: str) -> _Line:
    """`zramfs mount --trace`: a line of JSON for each request. Its device is not told apart, and there is no offset."""
    del first
    kinds = {("read", False): READ, ("write", False): SYNC_WRITE, ("write", True): ASYNC_WRITE}

    def parse(line: str) -> _Entry | None:
        record = json.loads(line)
        if "lost" in record or record["op"] == "discard":
            return None
        kind = kinds[record["op"], record["async"]]
        size_bytes = index(record["bytes"])
        return _Entry(round(record["arrival_us"] * _NS_PER_US), 0, size_bytes, kind) if size_bytes else None

    return parse


_BLKPARSE: Final = re.compile(
    r"\s*\d+,\d+\s+\d+\s+\d+\s+(?P<s>\d+)\.(?P<ns>\d{9})\s+\d+\s+(?P<action>[A-Z]+)\s+(?P<rwbs>[A-Z]+)"
    r"(?:\s+(?P<sector>\d+)\s+\+\s+(?P<sectors>\d+))?"
)


def _blkparse(first: str) -> _Line:
    """`blkparse`'s default output. A request is its queueing (Q): the others are steps of the same."""
    del first

    def parse(line: str) -> _Entry | None:
        found = _BLKPARSE.match(line)
        if found is None or found["action"] != "Q" or found["sectors"] in (None, "0"):
            return None
        flags = found["rwbs"]
        if "D" in flags or not ("R" in flags or "W" in flags):
            return None
        kind = READ if "R" in flags else SYNC_WRITE if "S" in flags else ASYNC_WRITE
        at_ns = int(found["s"]) * _NS_PER_S + int(found["ns"])
        return _Entry(at_ns, int(found["sector"]) * SECTOR_SIZE, int(found["sectors"]) * SECTOR_SIZE, kind)

    return parse


def _fio(first: str) -> _Line:
    """Iologs of fio: version 2 has the time in `wait` lines (µs after the one before), version 3 in each (µs).

    They do not tell synchronous writes from others: all of them count as asynchronous.
    """
    version = first.split()[2] if len(first.split()) == 4 else ""
    if version not in ("2", "3"):
        raise InvalidValue(f"line 1: fio's iolog of version 2 or 3 is read, not {first.strip()[:40]!r}")
    waited_ns = 0
    kinds = {"read": READ, "write": ASYNC_WRITE}

    def parse(line: str) -> _Entry | None:
        nonlocal waited_ns
        words = line.split()
        if words[0] == "fio":
            return None
        at_ns = int(words.pop(0)) * _NS_PER_US if version == "3" else waited_ns
        if len(words) == 2:
            return None  # opening and closing a file
        name, action, offset, size = words
        del name
        if action == "wait":
            waited_ns += int(offset) * _NS_PER_US
            return None
        return _Entry(at_ns, int(offset), int(size), kinds[action]) if action in kinds else None

    return parse


def _csv(first: str) -> _Line:
    """Time in s, offset and size in bytes, operation (r, w, or ws: synchronous); a line of headings is skipped."""
    kinds = {
        "r": READ,
        "read": READ,
        "w": ASYNC_WRITE,
        "write": ASYNC_WRITE,
        "ws": SYNC_WRITE,
        "sync_write": SYNC_WRITE,
    }
    header = first if not first.split(",", maxsplit=1)[0].strip().replace(".", "", 1).isdigit() else None

    def parse(line: str) -> _Entry | None:
        nonlocal header
        if line == header:
            header = None
            return None
        at, offset, size, operation = (word.strip() for word in line.split(","))
        return _Entry(round(float(at) * _NS_PER_S), int(offset), int(size), kinds[operation.lower()])

    return parse


_FORMATS: Final[Mapping[str, Callable[[str], _Line]]] = {
    "zramfs": _zramfs,
    "blkparse": _blkparse,
    "fio": _fio,
    "csv": _csv,
}

TRACE_FORMATS: Final = ("auto", *_FORMATS)
"""Their names; `auto` tells them apart by the first line."""
