"""The `zramfs` command, as a process: loading and ending take most of the time of a short verb (`lifetime`)."""

import os
import signal
import sys
from pathlib import Path

from zramfs.cli.lifetime import end, load_what_stays


def main() -> None:
    """Run a verb to the end of the process."""
    load_what_stays()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # while it is ignored, nobody hears how a child has ended
    _replace_closed_streams()
    from zramfs.cli.program import run  # noqa: PLC0415 - this is the loading

    end(run(sys.argv[0], sys.argv[1:]))


def _replace_closed_streams() -> None:
    """Open /dev/null wherever the caller has closed one of 0, 1 and 2: what is opened next must not land there.

    Python has None for such a stream, which print() takes for standard output.
    """
    null = Path(os.devnull)
    sys.stdin = sys.stdin or null.open()
    sys.stdout = sys.stdout or null.open("w")
    sys.stderr = sys.stderr or null.open("w")


if __name__ == "__main__":
    main()
