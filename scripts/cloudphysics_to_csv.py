"""Converts a block trace like libCacheSim's cloudPhysicsIO.csv into the CSV that a scenario replays.

    python scripts/cloudphysics_to_csv.py cloudPhysicsIO.csv > trace.csv

and in the scenario `kind = "replay"`, `path = "trace.csv"`. Lines that begin with no number are headings, and skipped.
The second column is the time, the fourth the size in bytes and the fifth the block of 512 bytes, as that project's
documents have them. Assumed: the third is the SCSI command, and the time is in microseconds; --columns and --ticks say
otherwise. A trace does not tell whether somebody waited: writes are asynchronous.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SECTOR_BYTES = 512
READS = {"r", "read", "8", "08", "28", "88", "a8", "40", "136", "168"}
WRITES = {"w", "write", "0a", "2a", "8a", "aa", "10", "42", "138", "170"}
"""SCSI's READ and WRITE of 6, 10, 16 and 12 bytes, in hexadecimal and in decimal; no word is in both."""


class BadLineError(Exception):
    """A line that is none of the trace."""


def convert(lines: Iterable[str], columns: tuple[int, int, int, int], ticks_per_s: float) -> Iterator[str]:
    """Yield a line of CSV for each read or write: seconds, offset in bytes, size in bytes, r or w. Others are left out.

    `columns`: of time, operation, size, block, from 1 on. Times are as they are: a replay begins with the first.
    """
    for number, line in enumerate(lines, start=1):
        words = [word.strip().strip('"').lower() for word in line.split(",")]
        if not words[0].isdigit():
            continue
        try:
            time, operation, size, block = (words[column - 1] for column in columns)
            at_s, size_bytes, offset_bytes = float(time) / ticks_per_s, int(size), int(block) * SECTOR_BYTES
        except (ValueError, IndexError) as error:
            raise BadLineError(f"line {number}: {line.strip()[:80]!r}") from error
        kind = letter_of(operation)
        if kind and size_bytes > 0:
            yield f"{at_s:.6f},{offset_bytes},{size_bytes},{kind}"


def letter_of(operation: str) -> str:
    """Return r, w, or nothing for another command."""
    word = operation.removeprefix("0x")
    return "r" if word in READS else "w" if word in WRITES else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trace", type=Path)
    parser.add_argument("--columns", default="2,3,4,5", help="of time, operation, size, block, from 1 on")
    parser.add_argument("--ticks", type=float, default=1e6, help="of the trace's clock in a second")
    given = parser.parse_args()
    columns = tuple(int(word) if word.isdigit() else 0 for word in given.columns.split(","))
    if len(columns) != 4 or min(columns) < 1 or given.ticks <= 0:
        parser.error("--columns takes four numbers from 1 on, and --ticks one that is more than 0")
    count = 0
    try:
        with given.trace.open(encoding="utf-8") as lines:
            for line in convert(lines, columns, given.ticks):
                print(line)
                count += 1
    except OSError as error:
        sys.exit(f"{given.trace} cannot be read: {error.strerror}")
    except (BadLineError, UnicodeDecodeError) as error:
        sys.exit(f"{given.trace} is no such trace: {error}")
    if not count:
        sys.exit(f"{given.trace}: there is no read or write in it: see --columns")


if __name__ == "__main__":
    main()
