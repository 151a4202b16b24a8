"""Mount points and devices, which only a mount can complete."""

import os
import subprocess
from collections.abc import Callable

from mounts import ZRAMFS, Mounted


def completed(*words: str) -> list[str]:
    """What click answers a shell: kinds and values in turns; of one kind, plain."""
    environment = os.environ | {
        "_ZRAMFS_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    said = subprocess.check_output([ZRAMFS], text=True, env=environment)
    return [line.removeprefix("plain,") for line in said.splitlines()]


def test_mount_points_and_devices_are_completed(mount: Callable[..., Mounted]) -> None:
    mounted = mount("--devices", "2")
    path = str(mounted.path)
    assert completed("zramfs", "status", path[:-1]) == [path]
    assert completed("zramfs", "loop", "attach", path, "--device", "z") == ["zram0", "zram1"]
    assert completed("zramfs", "mount", "/tm") == ["dir,/tm"]
