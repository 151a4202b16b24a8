"""Running other programs: each in a session of its own, killed with its children when it is abandoned."""

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zramfs.foreign import last_line

LAST_WORDS_S = 5.0


class BenchError(Exception):
    """The benchmark cannot measure; the message is the one line the user sees."""


@dataclass(frozen=True)
class Output:
    """What a program that ended well has said."""

    stdout: str
    stderr: str


def run(command: list[str], *, timeout_s: float) -> Output:
    """Run `command` to its end; raises BenchError if it fails, is missing or takes over `timeout_s`."""
    try:
        process = start(command)
    except OSError as error:
        raise BenchError(f"{command[0]} does not start: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_group(process)
        raise BenchError(f"no end after {timeout_s:.0f} s: {shlex.join(command)}") from None
    except BaseException:
        kill_group(process)
        raise
    if process.returncode != 0:
        said = last_line(stderr or stdout) or "(it said nothing)"
        raise BenchError(f"exit code {process.returncode} from {shlex.join(command)}: {said}")
    return Output(stdout, stderr)


def start(command: list[str]) -> subprocess.Popen[str]:
    """Start `command` away from the terminal: Ctrl-C reaches only us, and the cleaning is in our order."""
    return subprocess.Popen(
        command,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill `process` and its children, and wait for it, though not for ever: it may hang in the kernel."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(LAST_WORDS_S)


def root_of_project() -> Path:
    """Return the folder that holds scripts/."""
    return Path(__file__).resolve().parents[2]
