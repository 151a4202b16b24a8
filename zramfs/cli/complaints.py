"""One line on standard error, from a process that is not the one whose exit code `main` decides."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from zramfs.errors import ZramError
from zramfs.foreign import printable


def complain(line: str) -> None:
    """Print a line, which steers no terminal."""
    print(f"zramfs: {printable(line)}", file=sys.stderr, flush=True)


@contextmanager
def complained_about() -> Iterator[None]:
    """Print what goes wrong in the `with`, which then is over."""
    try:
        yield
    except ZramError as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
