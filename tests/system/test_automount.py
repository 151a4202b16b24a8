"""A mount that the kernel asks for when somebody comes by its place (autofs)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mounts import ZRAMFS, is_mounted, zramfs

from zramfs.kernel import unmount_lazily

_AUTOMOUNTER = """
import fcntl, os, struct, subprocess, sys
from pathlib import Path
from zramfs import kernel

READY, FAIL = 0x9360, 0x9361  # AUTOFS_IOC_READY, AUTOFS_IOC_FAIL
folder, *command = sys.argv[1:]
read_fd, write_fd = os.pipe()
kernel.mount("autofs", Path(folder), f"fd={write_fd},pgrp={os.getpgrp()},minproto=5,maxproto=5,indirect")
folder_fd = os.open(folder, os.O_RDONLY)
print("ready", flush=True)
packet = os.read(read_fd, 304)  # struct autofs_v5_packet
token, length = struct.unpack_from("I", packet, 8)[0], struct.unpack_from("I", packet, 40)[0]
place = f"{folder}/{packet[44:44 + length].decode()}"
os.mkdir(place)
failed = subprocess.run([*command, place]).returncode
fcntl.ioctl(folder_fd, FAIL if failed else READY, token)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="autofs is mounted by root")
@pytest.mark.skipif("autofs" not in Path("/proc/filesystems").read_text(), reason="the kernel has no autofs")
def test_mount_is_made_when_somebody_comes_by(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _AUTOMOUNTER, tmp_path, ZRAMFS, "mount", "--size", "16M"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0) as automounter:
        assert automounter.stdout is not None
        assert automounter.stdout.readline() == b"ready\n"
        try:
            stat = ["stat", "-c", "%s", tmp_path / "disk/zram0"]
            looked = subprocess.run(stat, capture_output=True, timeout=60, check=False)
            assert looked.stdout == b"16777216\n", looked.stderr
            assert zramfs("umount", tmp_path / "disk").returncode == 0
            assert not is_mounted(tmp_path / "disk")
        finally:
            os.killpg(automounter.pid, 9)
            unmount_lazily(tmp_path)
