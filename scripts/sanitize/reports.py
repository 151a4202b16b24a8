"""What the sanitizers have written: which of it is of our code, each finding once, and suppressions with their reasons.

CPython and the libraries are not instrumented. ThreadSanitizer sees their locks, but of their memory only what passes
through malloc, memcpy and the like: a race that it reports between two such calls is its own ignorance. Hence its
report counts if one of the stacks that it is about has a frame of one of our .so files. Stacks that only say where
memory, threads and locks come from do not count: all engines were started by one of ours. AddressSanitizer and UBSan
have no such noise, and everything that they say counts.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from builds import Build

_SEPARATOR = re.compile(r"^=+$", re.MULTILINE)
_ORIGINS = re.compile(r"^  (?:Location|Mutex|Thread|Hint|As if)\b", re.MULTILINE)
_LIBRARY = re.compile(r"\(([^()\s]+\.so[\d.]*)\+0x")
_SUMMARY = re.compile(r"^SUMMARY: (.*)$", re.MULTILINE)
_UNDEFINED = re.compile(r"^(\S+:\d+:\d+: runtime error: .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Findings:
    """The distinct reports of a build, and how often each came."""

    ours: Counter[str]
    noise: int
    """Reports of ThreadSanitizer without a frame of ours."""


def findings(build: Build) -> Findings:
    """Read all reports of a build."""
    libraries = {path.name for path in (build.folder / "zramfs").rglob("*.so")}
    ours: Counter[str] = Counter()
    noise = 0
    for path in sorted(build.reports.glob("report*")):
        for summary, counts in reports_in(path.read_text(errors="replace"), libraries):
            if counts:
                ours[summary] += 1
            else:
                noise += 1
    return Findings(ours, noise)


def reports_in(text: str, libraries: set[str]) -> list[tuple[str, bool]]:
    """Return the summary of each report in a file, and whether it counts."""
    reports = [(found, True) for found in _UNDEFINED.findall(text)]
    for block in _SEPARATOR.split(text):
        summary = _SUMMARY.search(block)
        if summary is not None and "UndefinedBehavior" not in summary[1]:
            reports.append((summary[1], "ThreadSanitizer" not in summary[1] or is_ours(block, libraries)))
        elif summary is None and "ERROR: " in block:
            reports.append((block.strip().partition("\n")[0], True))
    return reports


def is_ours(report: str, libraries: set[str]) -> bool:
    """Return whether one of the stacks that the report is about has a frame of ours."""
    about = _ORIGINS.split(report)[0]
    return any(Path(library).name in libraries for library in _LIBRARY.findall(about))


def suppressions_without_reason(folder: Path) -> list[str]:
    """Return the suppressions above which no comment stands."""
    missing = []
    for path in sorted(folder.glob("*.txt")):
        above = ""
        for line in path.read_text().splitlines():
            if line.strip() and not line.startswith("#") and not above.startswith("#"):
                missing.append(f"{path.name}: {line}")
            above = line
    return missing
