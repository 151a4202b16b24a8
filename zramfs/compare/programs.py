"""Runs the programs that a comparison is made of, and ends them when the user has seen enough."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final, Self

from zramfs.errors import CommandFailed
from zramfs.foreign import last_line

_LOOK_EVERY_S: Final = 0.05
_GRACE_S: Final = 10.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):  # noqa: N818 - named after what happened
    """The user has asked to end. Raised between the steps of a comparison, never within one that must be undone."""


class Interruption:
    """While entered, SIGINT, SIGTERM and SIGHUP are noted instead of raised: a mount that is being made gets undone."""

    def __init__(self) -> None:
        self.is_requested = False
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.is_requested = True

    def check(self) -> None:
        """Raise Interrupted if the user has asked to end."""
        if self.is_requested:
            raise Interrupted


def run_workload(
    command: list[str], output: Path, interruption: Interruption, *, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a program until it ends or the user asks to; its exit code and last line of error.

    What it prints goes to `output`. CommandFailed if it is missing; Interrupted once it has ended early.
    """
    errors = output.with_suffix(".err")
    with output.open("wb") as out, errors.open("wb") as err:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(environment or {})},
                process_group=0,
            )
        except FileNotFoundError as error:
            raise CommandFailed(f"{command[0]} is missing: install the package that has it") from error
        exit_code = _wait(process, interruption)
    return exit_code, last_line(errors.read_text(errors="replace"))


def _wait(process: subprocess.Popen[bytes], interruption: Interruption) -> int:
    try:
        while True:
            interruption.check()
            try:
                return process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                continue
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs: asked first, so that it takes away what it made."""
    if process.poll() is not None:
        return
    for ask in (process.terminate, process.kill):
        ask()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        return


def shown(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """Return a command as one types it."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in (environment or {}).items()]
    return " ".join([*variables, shlex.join(command)])
