"""The daemon's end of the process that serves its metrics (`metrics_server`)."""

import logging
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import trio

from zramfs.cli.listening import remove_socket

_log: Final = logging.getLogger(__name__)

_COMMAND: Final = (sys.executable, "-P", "-m", "zramfs.cli.metrics_server")
_AGAIN_S: Final = 1.0
_END_S: Final = 2.0


async def serve_metrics(listener: socket.socket, mountpoint: Path) -> None:
    """Have a process serve the mount's metrics until cancelled; another one takes its place if it dies."""
    try:
        while True:
            await _run_one(listener, mountpoint)
            _log.warning("the process that served metrics has ended; another one begins")
            await trio.sleep(_AGAIN_S)
    except OSError as error:
        _log.error("metrics are not served: %s", error)
    finally:
        remove_socket(listener)
        listener.close()


async def _run_one(listener: socket.socket, mountpoint: Path) -> None:
    fd = listener.fileno()
    process = await trio.lowlevel.open_process(
        [*_COMMAND, str(mountpoint), str(fd)], stdin=subprocess.PIPE, pass_fds=[fd], start_new_session=True
    )
    try:
        await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            if process.stdin is not None:
                await process.stdin.aclose()
            with trio.move_on_after(_END_S):
                await process.wait()
            if process.returncode is None:
                process.kill()
