"""The event trace: a line of JSON for each request, for whoever wants to know where its time went.

Off unless asked for, and free when off: a disk without a tracer makes no record.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns
from typing import Final

import trio

from zramfs.block.trace import Tracer
from zramfs.outputs import open_output

_log: Final = logging.getLogger(__name__)

_PERIOD_S: Final = 0.05
"""How long records wait for being written."""

_ROOM_RECORDS: Final = 1 << 17
"""Of each disk: 0.3 s of 400,000 requests a second. 11 MB, as far as they are used."""


class RequestTrace:
    """Writes to `path`, which is replaced; OSError if that cannot be. Several devices may share one.

    Lines of a device are in the order of its answers. Where records were lost, because the event loop was late, a line
    of its own says how many.
    """

    def __init__(self, path: Path, *, room_records: int = _ROOM_RECORDS) -> None:
        self._path = path
        self._file = os.fdopen(open_output(path, os.O_TRUNC), "wb", buffering=1 << 16)
        self._origin_ns = monotonic_ns()
        self._room_records = room_records
        self._tracers: list[Tracer] = []

    def tracer(self, name: str) -> Tracer:
        """Make what notes the requests of a disk."""
        tracer = Tracer(name, self._room_records, self._origin_ns)
        self._tracers.append(tracer)
        return tracer

    async def serve(self) -> None:
        """Write records down as they come, until cancelled."""
        while True:
            while self._write_some():
                await trio.lowlevel.checkpoint()
            await trio.sleep(_PERIOD_S)

    def forget(self, tracer: Tracer) -> None:
        """Write out what a disk has noted, which notes no more."""
        while self._note(tracer.take_lines()):
            pass
        self._tracers.remove(tracer)

    def close(self) -> None:
        """Write out what is left. No request is in flight."""
        while self._write_some():
            pass
        try:
            self._file.close()
        except OSError as error:
            self._end(error)

    def _write_some(self) -> bool:
        """Write some records of each disk; False if there were none."""
        return sum(self._note(tracer.take_lines()) for tracer in self._tracers) > 0

    def _note(self, lines: bytes) -> bool:
        """Write lines down; False if there are none. If that fails, the trace ends, and no request suffers for it."""
        if lines and not self._file.closed:
            try:
                self._file.write(lines)
            except OSError as error:
                self._end(error)
        return bool(lines)

    def _end(self, error: OSError) -> None:
        _log.error("the trace ends early: %s: %s", self._path, error.strerror)
        with suppress(OSError):
            self._file.close()

    def __repr__(self) -> str:
        return f"<RequestTrace to {self._path}>"
