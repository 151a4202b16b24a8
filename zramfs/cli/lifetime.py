"""The first and the last moment of a verb's process: what Python does there for programs that live longer is left out.

Of the 206 ms of CPU time that a `status` takes otherwise (median of 25, AMD EPYC, Python 3.11), the collector has 16,
and clearing memory at the end 30.
"""

import atexit
import gc
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn


def load_what_stays() -> None:
    """Collect no garbage for the time being: modules are none, and each collection looks through all of them."""
    gc.disable()


def keep_what_is_loaded() -> None:
    """Collect from now on, but nothing that is there: nobody has to look through it, nor to copy it after a fork."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def end(exit_code: int) -> NoReturn:
    """End the process without clearing its memory, which the kernel does at once."""
    if threading.active_count() > 1:  # Python waits for a thread that still works
        sys.exit(exit_code)
    atexit._run_exitfuncs()  # noqa: SLF001 - there is no other way to run them; multiprocessing does likewise
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it is closed, or nobody reads it
            stream.flush()
    os._exit(exit_code)
