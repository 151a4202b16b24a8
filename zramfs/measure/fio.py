"""fio, whatever it measures: the options that all its jobs need, how it takes its words, and what its JSON says."""

import json
import os
from pathlib import Path
from typing import Any, Final

from zramfs.errors import CommandFailed

BASICS: Final = ("fio", "--thread", "--allow_file_create=0", "--fallocate=none")
"""Jobs are threads: a job that is a process begins a session of its own, and outlives a fio that is killed."""


def file_name(path: Path) -> str:
    """Return a path as an option of fio's takes it: there a colon separates two files."""
    return str(path).replace(":", r"\:")


def milliseconds(seconds: float) -> str:
    """Return a time as an option of fio's takes it."""
    return f"{round(seconds * 1e3)}ms"


def read_report(text: str) -> dict[str, Any]:
    """Return fio's JSON, which warnings may precede. CommandFailed if it is none, or if a job has failed."""
    try:
        report: dict[str, Any] = json.loads(text[text.index("{") :])
        errors = [job["error"] for job in report["jobs"] if job["error"]]
    except (ValueError, LookupError) as error:
        raise CommandFailed(f"fio's output is not the JSON it should be: {text[:80]!r}") from error
    if errors:
        raise CommandFailed(f"fio reports error {errors[0]}: {os.strerror(errors[0])}")
    return report
