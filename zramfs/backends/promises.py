"""The broken promises of another package's backend: logged once a kind, counted, and borne up to a limit."""

import logging
from typing import TYPE_CHECKING, Final

from zramfs.contracts import Backend

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_log: Final = logging.getLogger(__name__)

MOST_BROKEN: Final = 8
"""How many broken promises a device bears before it does without the package's streams."""

_MOST_CHARACTERS: Final = 300

_NOT_OF_A_PACKAGE: Final = ("zramfs.", "importlib.")


def is_ours(thing: object) -> bool:
    """Whether the class of a thing is one of zramfs's."""
    return package_of(thing) == "zramfs"


def package_of(thing: object) -> str:
    """Return the name of the package that the class of a thing is from."""
    return type(thing).__module__.partition(".")[0]


def describe(error: BaseException) -> str:
    """Tell of an error in a line: its class and text, and where in the package it was raised."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - the error is another package's too
        text = ""
    where = _origin(error.__traceback__)
    return one_line(f"{type(error).__name__}{text and f': {text}'}{where and f' ({where})'}")


def _origin(traceback: "TracebackType | None") -> str:
    """Return file and line of the innermost frame that is neither zramfs's nor the import system's; empty without."""
    origin = ""
    while traceback is not None:
        if not str(traceback.tb_frame.f_globals.get("__name__")).startswith(_NOT_OF_A_PACKAGE):
            origin = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return origin


def one_line(text: str) -> str:
    """Make one printable line of a text, whatever is in it."""
    words = " ".join(text.split()).encode("ascii", "backslashreplace").decode()
    return words if len(words) <= _MOST_CHARACTERS else f"{words[:_MOST_CHARACTERS]}…"


class Promises:
    """Those of one backend, while a device uses it. `on_verdict` is called when too many are broken."""

    def __init__(self, backend: Backend) -> None:
        self._who = f"{package_of(backend)} (algorithm {backend.name})"
        self._noted: set[str] = set()
        self.broken_count = 0
        """Broken promises of managed streams."""
        self.verdict = ""
        """Why the device does without the package's streams; empty while it does not."""
        self.on_verdict: Callable[[], None] = lambda: None

    def note(self, promise: str, found: str) -> str:
        """Log what was found instead of what was promised, unless that promise was noted before; the line."""
        line = one_line(f"{self._who}: {promise} {found}")
        if promise not in self._noted:
            self._noted.add(promise)
            _log.warning("%s; the package breaks its contract, and this is logged once", line)
        return line

    def broken(self, promise: str, found: str) -> None:
        """Count a promise of the managed streams that was not kept, and note it."""
        self.broken_count += 1
        self.note(promise, found)
        if self.broken_count >= MOST_BROKEN:
            self.give_up(f"{promise} {found}; that is the last of {self.broken_count} broken promises")

    def give_up(self, reason: str) -> None:
        """Do without the package's streams from now on."""
        if not self.verdict:
            self.verdict = one_line(f"{self._who}: {reason}")
            _log.error("%s; its managed streams are switched off", self.verdict)
            self.on_verdict()

    def __repr__(self) -> str:
        return f"<Promises of {self._who}, {self.broken_count} broken>"
