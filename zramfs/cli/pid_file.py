"""The file that has the daemon's process id: whole from the moment when it is there, until the mount has ended."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from zramfs.errors import MountFailed
from zramfs.outputs import open_output

_LONGEST_BYTES: Final = 32


class PidFile:
    """The file at `path`, which may be left from a daemon that was killed."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()  # a daemon's folder is another

    def require_free(self) -> None:
        """Raise MountFailed if it is a living process's, no pid file, or cannot be written."""
        try:
            text = self._text()
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise MountFailed(f"cannot read {self._path}: {error.strerror}") from error
        if text and not text.isdecimal():
            raise MountFailed(f"{self._path} has no process id in it: it is not overwritten")
        if text and _is_alive(int(text)):
            raise MountFailed(f"{self._path} is of process {text}, which lives: remove the file if that is no zramfs")
        if not os.access(self._path.parent, os.W_OK | os.X_OK):
            raise MountFailed(f"cannot write {self._path}: its folder is missing, or not ours to write to")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Remove it at the end, if it is still ours."""
        try:
            yield
        finally:
            with suppress(OSError):
                if self._text() == str(os.getpid()):
                    self._path.unlink()

    def write(self) -> None:
        """Let it appear with our process id; MountFailed if another process was faster, or it cannot be."""
        ours = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with os.fdopen(open_output(ours, os.O_EXCL, 0o644), "w") as file:
                file.write(f"{os.getpid()}\n")
            try:
                self._appear(ours)
            finally:
                ours.unlink(missing_ok=True)
        except OSError as error:
            raise MountFailed(f"cannot write {self._path}: {error.strerror}") from error

    def _appear(self, ours: Path) -> None:
        try:
            self._path.hardlink_to(ours)
        except FileExistsError:
            self.require_free()
            ours.replace(self._path)

    def _text(self) -> str:
        with self._path.open("rb") as file:
            return file.read(_LONGEST_BYTES).decode(errors="replace").strip()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
