"""Runs the verbs of the command line, each in a process of its own, as their user would. Level 0.

A verb that asks a mount forks, and may wait for one that hangs: neither is to happen in a program with threads.
"""

import re
import signal
import subprocess
import sys
from typing import Final

from zramfs.errors import BadUsage, CommandFailed
from zramfs.foreign import last_line

_PROGRAM: Final = (sys.executable, "-P", "-m", "zramfs.cli.main")
_BAD_USAGE: Final = 2
_ITS_NAME: Final = re.compile(r"^zramfs(?: [a-z]+)*: ")


def try_verb(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end, whatever comes of it; the terminal's Ctrl-C does not reach it."""
    return subprocess.run(
        [*_PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        process_group=0,
    )


def run_verb(*arguments: str) -> str:
    """Run a verb to its end and return what it prints; CommandFailed has its line of error, BadUsage if it is that."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        raise CommandFailed(f"the program ignores SIGCHLD, and could not hear whether zramfs {arguments[0]} has worked")
    result = try_verb(*arguments)
    if result.returncode:
        kind = BadUsage if result.returncode == _BAD_USAGE else CommandFailed
        raise kind(line_of_error(result))
    return result.stdout.strip()


def line_of_error(result: subprocess.CompletedProcess[str]) -> str:
    """Return what a verb that failed says, without its name and what a terminal's user is told besides."""
    line = _ITS_NAME.sub("", last_line(result.stderr)).partition(" (see: zramfs ")[0]
    return line or f"zramfs ended with exit code {result.returncode}, and said nothing"
