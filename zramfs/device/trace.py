"""The event trace: a line of JSON for each request, for whoever wants to know where its time went.

Off unless asked for, and free when off: a device without a trace makes no record.
"""

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns
from typing import Final

from zramfs.outputs import open_output

_log: Final = logging.getLogger(__name__)

_NS_PER_US: Final = 1000

PageCounts = Callable[[], dict[str, int]]
"""Pages taken so far, by kind of stream."""


class RequestTrace:
    """Writes to `path`, which is replaced; OSError if that cannot be. Several devices may share one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.fdopen(open_output(path, os.O_TRUNC), "w", buffering=1 << 16)
        self._origin_ns = monotonic_ns()

    def microseconds(self, time_ns: int) -> float:
        """Return a time of the monotonic clock in µs since the trace began."""
        return (time_ns - self._origin_ns) / _NS_PER_US

    def note(self, record: dict[str, object]) -> None:
        """Write a record down. If that fails, the trace ends there, and no request suffers for it."""
        if self._file.closed:
            return
        try:
            self._file.write(json.dumps(record, separators=(",", ":")) + "\n")
        except OSError as error:
            self._end(error)

    def close(self) -> None:
        """Write out what is left."""
        try:
            self._file.close()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        _log.error("the trace ends early: %s: %s", self._path, error.strerror)
        with suppress(OSError):
            self._file.close()

    def __repr__(self) -> str:
        return f"<RequestTrace to {self._path}>"


class TracedRequest:
    """A request from arrival to answer. What the streams take between `resume` and `pause` is its own."""

    def __init__(
        self,
        trace: RequestTrace,
        device: str,
        counts: PageCounts,
        op: str,
        size_bytes: int,
        arrival_ns: int,
        is_async: bool = False,  # noqa: FBT001, FBT002 - called from compiled code
    ) -> None:
        self._trace = trace
        self._counts = counts
        self._record: dict[str, object] = {"device": device, "op": op, "bytes": size_bytes, "async": is_async}
        self._arrival_ns = arrival_ns
        self._submit_ns = arrival_ns
        self._pages: dict[str, int] = {}
        self.resume()

    def resume(self) -> None:
        """Begin to count what the streams take for this request."""
        self._before = self._counts()

    def pause(self) -> None:
        """Add what the streams took, and note that it was submitted by now."""
        self._submit_ns = monotonic_ns()
        for kind, pages in self._counts().items():
            if pages != self._before[kind]:
                self._pages[kind] = self._pages.get(kind, 0) + pages - self._before[kind]
        self._before = self._counts()

    def answer(self, complete_ns: int | None = None) -> None:
        """Write it down: it is answered now. Without `complete_ns` it was complete when it was submitted."""
        if complete_ns is None:
            self.pause()
        microseconds = self._trace.microseconds
        self._trace.note(
            {
                **self._record,
                "streams": self._pages,
                "arrival_us": microseconds(self._arrival_ns),
                "submit_us": microseconds(self._submit_ns),
                "complete_us": microseconds(complete_ns or self._submit_ns),
                "reply_us": microseconds(monotonic_ns()),
            }
        )
