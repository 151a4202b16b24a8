"""Mount namespaces beside that of the tests."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def mount_namespace() -> Iterator[int]:
    """The number of a process in a new mount namespace, which has copies of all mounts, and in which it waits."""
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; read _"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"\n"
        try:
            yield holder.pid
        finally:
            holder.stdin.close()
