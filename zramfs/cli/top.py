"""`zramfs top`: what devices do now, in a terminal or as JSON."""

import json
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from zramfs.cli.fitting import terminal_width
from zramfs.cli.overview import mounts_of_this_user, read_overview
from zramfs.cli.parameters import Seconds, optional_mountpoint_argument
from zramfs.cli.rates import rates_of
from zramfs.cli.top_view import fitting_screen, screen_lines
from zramfs.errors import MountFailed, NotMounted
from zramfs.mountpoint import Mount, find_ours

_END_KEYS: Final = (b"q", b"Q", b"\x04")


@click.command(short_help="Watch throughput, latencies, streams and queues.")
@optional_mountpoint_argument
@click.option("--once", is_flag=True, help="Show one interval, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --once.")
@click.option(
    "--interval",
    "interval_s",
    metavar="SECONDS",
    type=Seconds(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Time from one look to the next.",
)
def top(mountpoint: Path | None, *, once: bool, as_json: bool, interval_s: float) -> None:
    """Show what the devices of MOUNTPOINT do now, or those of all your mounts, until q or Ctrl-C.

    Latencies are from a request's arrival in the daemon to its answer, in bins that are an eighth wide.
    """
    if as_json and not once:
        raise click.UsageError("--json is for --once")
    if not once and not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise click.UsageError("this is no terminal: use --once, or --once --json")
    mounts = mounts_of_this_user() if mountpoint is None else [find_ours(mountpoint)]
    if not mounts:
        raise NotMounted("no zramfs is mounted")
    sampler = _Sampler(mounts, is_one=mountpoint is not None)
    if once:
        time.sleep(interval_s)
        _print(sampler.next(), as_json=as_json)
        return
    with _keys() as wait_for_end:
        _watch(sampler, partial(wait_for_end, interval_s))


def _print(rates: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"mounts": rates}, indent=2))
        return
    for line in screen_lines(rates, terminal_width()):
        click.echo(line.replace("; q ends", ""))


class _Sampler:
    """Looks at mounts again and again. One that has gone is an error if it was named, or none is left."""

    def __init__(self, mounts: Sequence[Mount], *, is_one: bool) -> None:
        self._mounts = list(mounts)
        self._is_one = is_one
        self._seen_at_s = 0.0
        self._reports: dict[str, dict[str, Any]] = {}
        self._look()

    def next(self) -> list[dict[str, Any]]:
        """Return the rates since the last look; MountFailed if there is nothing to look at any more."""
        before, seen_at_s = self._reports, self._seen_at_s
        self._look()
        seconds = self._seen_at_s - seen_at_s
        try:
            return [rates_of(before[path], after, seconds) for path, after in self._reports.items() if path in before]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise MountFailed("what is mounted does not answer as a zramfs does") from error

    def _look(self) -> None:
        reports = read_overview(self._mounts, in_full=False)
        self._seen_at_s = time.monotonic()
        self._reports = {report["mountpoint"]: report for report in reports if report["state"] == "live"}
        if self._is_one or not self._reports:
            for report in reports:
                if report["state"] != "live":
                    raise MountFailed(report["error"])


def _watch(sampler: _Sampler, wait_for_end: Any) -> None:
    """Show the rates until a key ends it, or MountFailed, which is left below what was shown last."""
    console = Console(highlight=False, markup=False, emoji=False)
    with Live(Text("looking …"), console=console, screen=True, auto_refresh=False) as live:
        live.refresh()
        while not wait_for_end():
            lines = screen_lines(sampler.next(), console.width)
            shown = fitting_screen(lines, console.width, console.height)
            live.update(Text("\n".join(shown), no_wrap=True, overflow="ignore"), refresh=True)


@contextmanager
def _keys() -> Iterator[Any]:
    """Have the terminal give keys as they are typed; a function that waits so long, and says whether to end."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def wait(interval_s: float) -> bool:
        ends_at_s = time.monotonic() + interval_s
        while select.select([fd], [], [], max(0.0, ends_at_s - time.monotonic()))[0]:
            key = os.read(fd, 1)
            if key in _END_KEYS or not key:
                return True
        return False

    try:
        tty.setcbreak(fd)
        yield wait
    except KeyboardInterrupt:
        return
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
