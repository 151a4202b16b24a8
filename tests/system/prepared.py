"""Verbs run by a process that has imported all they need: a mount takes a test 0.1 s instead of 0.5 s.

For what a test needs and does not look at. What it is about, it starts as a user does (`mounts.zramfs`).
"""

import gc
import json
import os
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import IO, NoReturn

TIMEOUT_S = 60.0
MOST_BYTES = 1 << 17
VERBS = ("mount", "umount", "status")
"""Those that the process imports beforehand; it runs the others as well."""


class PreparedVerbs:
    """A process that forks for each command; `companion` is decided when it imports."""

    def __init__(self, *, companion: bool) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(TIMEOUT_S)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | {"ZRAMFS_NO_COMPANION": "" if companion else "1"},
            )

    def run(self, *arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `zramfs ARGUMENTS` in a folder, or here; its output and exit code."""
        command = [os.fsdecode(each) if isinstance(each, bytes) else str(each) for each in arguments]
        wanted = json.dumps(
            {"arguments": command, "folder": str(folder or Path.cwd()), "environment": dict(os.environ)}
        )
        with _text_file() as output, _text_file() as errors:
            socket.send_fds(self._socket, [wanted.encode()], [output.fileno(), errors.fileno()])
            exit_code = int(self._socket.recv(16))
            output.seek(0)
            errors.seek(0)
            return subprocess.CompletedProcess(command, exit_code, output.read(), errors.read())

    def close(self) -> None:
        """End the process; what it has mounted stays."""
        self._socket.close()
        self._process.wait(TIMEOUT_S)


def _text_file() -> IO[str]:
    return tempfile.TemporaryFile("w+", errors="backslashreplace")


def serve(connection: socket.socket) -> None:
    """Fork for each message, until there is nobody to send one."""
    for verb in VERBS:
        import_module(f"zramfs.cli.{verb}")
    gc.freeze()
    while True:
        message, fds, _, _ = socket.recv_fds(connection, MOST_BYTES, 2)
        if not message:
            return
        child = os.fork()
        if child == 0:
            connection.close()
            run_verb(json.loads(message), fds)
        for fd in fds:
            os.close(fd)
        connection.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def run_verb(wanted: dict[str, object], fds: list[int]) -> NoReturn:
    """Be what the shell would have started."""
    from zramfs.cli.main import main  # noqa: PLC0415 - the tests' process needs nothing of it

    os.chdir(str(wanted["folder"]))
    companion = os.environ["ZRAMFS_NO_COMPANION"]
    os.environ.clear()
    os.environ.update(wanted["environment"], ZRAMFS_NO_COMPANION=companion)  # type: ignore[call-overload]
    for fd, standard in zip(fds, (1, 2), strict=True):
        os.dup2(fd, standard)
        os.close(fd)
    sys.argv = ["zramfs", *wanted["arguments"]]  # type: ignore[misc]
    exit_code = 1
    try:
        main()
    except SystemExit as end:
        exit_code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
