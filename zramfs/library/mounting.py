"""`zramfs.mount`: a mount that lives as long as a `with`, and never longer than its program."""

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from zramfs.errors import BadUsage, MountFailed
from zramfs.library.disk import Disk
from zramfs.library.keeper import Report, daemon_of, end_mount, remove

_log: Final = logging.getLogger("zramfs")

_KEEPER: Final = (sys.executable, "-P", "-m", "zramfs.library.keeper")
_BAD_USAGE: Final = 2
_KILLED: Final = -1
_OPTION: Final = re.compile(r"'--([a-z-]+)'")

Size = int | str
"""Bytes, or text such as `1G`."""


@contextmanager
def mount(
    path: str | os.PathLike[str] | None = None,
    *,
    size: Size | None = None,
    algorithm: str | None = None,
    zram_abi: str | None = None,
    mem_limit: Size | None = None,
    devices: int | None = None,
    accel: str | None = None,
    stream_policy: str | None = None,
    transport: str | None = None,
    busy_poll: int | None = None,
    read_only: bool = False,
    allow_other: bool = False,
    log_file: str | os.PathLike[str] | None = None,
    trace: str | os.PathLike[str] | None = None,
) -> Iterator[Disk]:
    """Mount a compressed disk for as long as the `with` lasts.

    `path` is an empty folder; without it the mount is in a temporary one. The other arguments are the options of
    `zramfs mount`, and have its defaults: `size` and `mem_limit` are bytes, or text such as "1G"; `accel` is a profile
    with changes, such as "qpace,queue_depth=64", or "none"; `busy_poll` is in µs; `log_file` and `trace` are files.
    Without `size` the devices have none until it is written to `disk.attributes["disksize"]`.

    The mount ends with the `with`, also by an exception, and with the program, also if it is killed. MountFailed says
    why there is no mount, or, at the end, who still used it: it has ended all the same. BadUsage is for an argument
    that `zramfs mount` does not take.
    """
    options = _options(
        size=size,
        algorithm=algorithm,
        zram_abi=zram_abi,
        mem_limit=mem_limit,
        devices=devices,
        accel=accel,
        stream_policy=stream_policy,
        transport=transport,
        busy_poll=busy_poll,
        log_file=None if log_file is None else Path(log_file).absolute(),
        trace=None if trace is None else Path(trace).absolute(),
    )
    flags = [flag for flag, is_set in (("--read-only", read_only), ("--allow-other", allow_other)) if is_set]
    kept = _Kept(path, [*options, *flags])
    try:
        yield Disk(kept.path)
    except BaseException as error:
        for failure in kept.end():
            error.add_note(f"zramfs: {failure}")
        raise
    for failure in kept.end():
        raise MountFailed(failure)


def _options(**values: object) -> list[str]:
    """Return the options of `zramfs mount`: one word each, so that a value may begin with a dash."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]


class _Kept:
    """A mount, and the keeper that has made it."""

    def __init__(self, path: str | os.PathLike[str] | None, options: Sequence[str]) -> None:
        if path == "":
            raise BadUsage("the path is empty")
        self._is_temporary = path is None
        self.path = Path(tempfile.mkdtemp(prefix="zramfs-")) if path is None else Path(path).absolute()
        self._program_pid = os.getpid()
        self._daemon_pid = 0
        self._keeper = self._started(options)
        try:
            self._await_mount()
            self._daemon_pid = daemon_of(self.path)
        except BaseException:
            self.end()
            raise

    def _started(self, options: Sequence[str]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                [*_KEEPER, str(self._program_pid), str(self.path), str(int(self._is_temporary)), *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
                text=True,
            )
        except (OSError, ValueError) as error:
            if self._is_temporary:
                remove(self.path)
            if isinstance(error, ValueError):
                raise BadUsage(str(error)) from error  # a NUL
            raise MountFailed(f"cannot start {sys.executable}, to keep the mount: {error.strerror}") from error

    def _await_mount(self) -> None:
        """Wait until the mount is there. MountFailed, or BadUsage, says why it cannot be."""
        report = self._heard()
        if report.exit_code == _BAD_USAGE:
            raise BadUsage(_OPTION.sub(lambda option: option[1].replace("-", "_"), report.text))
        if report.exit_code:
            raise MountFailed(report.text)
        for line in report.text.splitlines():
            _log.warning("%s", line.removeprefix("zramfs: warning: "))

    def _heard(self) -> Report:
        """Return the keeper's next report; its own end is one as well."""
        line = cast("IO[str]", self._keeper.stdout).readline()
        return Report(**json.loads(line)) if line else Report(_KILLED, f"the keeper of {self.path} was killed")

    def end(self) -> list[str]:
        """End the mount and wait for it; what there is to say of it. A fork of the program leaves it alone."""
        if os.getpid() != self._program_pid:
            return []
        with self._keeper as keeper:
            cast("IO[str]", keeper.stdin).close()
            report = self._heard()
        if report.exit_code == _KILLED and self._daemon_pid:
            report = self._end_instead()
        return [report.text] if report.exit_code else []

    def _end_instead(self) -> Report:
        """Do what the keeper would have done."""
        report = end_mount(self.path, self._daemon_pid)
        if self._is_temporary:
            remove(self.path)
        return report
