"""What a mount that stores a whole device needs: `memory.py DISK_BYTES COMMAND…` prints it as JSON.

COMMAND is that of `zramfs mount`; the mount point and the size are added to it.
"""

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cells import fill_command

END_S = 120.0


def main(disk_bytes: int, mount_command: list[str]) -> None:
    """Mount, fill, look, unmount."""
    program = mount_command[0]
    with ExitStack() as undo:
        mountpoint = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="zramfs-bench-")))
        run([*mount_command, str(mountpoint), "--size", str(disk_bytes)])
        undo.callback(run, [program, "umount", str(mountpoint)])
        pid = int((mountpoint / "sys/fs/zramfs/pid").read_text())
        empty_bytes = resident_bytes(pid)
        run(fill_command(mountpoint / "zram0"))
        status: dict[str, Any] = json.loads(run([program, "status", "--json", str(mountpoint)]))
        seen = {
            "empty_bytes": empty_bytes,
            "resident_bytes": resident_bytes(pid),
            "buffers_bytes": buffers_bytes(status),
            "data_bytes": status["devices"][0]["mm_stat"]["compr_data_size"],
        }
    print(json.dumps(seen))


def run(command: list[str]) -> str:
    """Run a command, which must succeed; returns what it prints."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=END_S).stdout


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory; not from statm, which counts in pages of the system."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024


def buffers_bytes(status: dict[str, Any]) -> int:
    """Return what the receivers' buffers take, as far as `status` says it."""
    transport = status["daemon"].get("transport")
    return int(transport.get("unused_buffer_bytes", 0)) if isinstance(transport, dict) else 0


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
