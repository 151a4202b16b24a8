"""What a verb loads before it does anything: scripts call `status` again and again, beside the load that they watch."""

import subprocess
import sys

import pytest

_OF_THE_DAEMON = {"asyncio", "pyfuse3", "trio"}
_OF_OTHER_VERBS = {"ctypes", "difflib", "prometheus_client", "rich", "shutil", "socket", "subprocess"}
_OF_SHELLS_THAT_COMPLETE = {"click.shell_completion", "zramfs.cli.completing"}
_OF_ERRORS = {"zramfs.libraries"}  # and shlex, where somebody's mount is hung
_SLOW_TO_MAKE = {"dataclasses"}
"""A frozen dataclass takes 0.9 ms at each start, a NamedTuple 0.2 (Python 3.11): `status` makes ten of them."""

_SHOW_LOADED = """
import sys
from zramfs.cli.program import zramfs
try:
    zramfs.main(sys.argv[1:], standalone_mode=False)
finally:
    print(*sys.modules, file=sys.stderr)
"""


def modules_loaded_by(*verb: str) -> set[str]:
    result = subprocess.run([sys.executable, "-c", _SHOW_LOADED, *verb], capture_output=True, text=True, check=False)
    return {name for line in result.stderr.splitlines() for name in line.split()}


@pytest.mark.parametrize("options", [[], ["--json"], ["--raw", "--output-all"]])
def test_status_loads_nothing_that_it_does_not_use(options: list[str]) -> None:
    loaded = modules_loaded_by("status", *options)
    assert "zramfs.cli.status" in loaded
    unused = _OF_THE_DAEMON | _OF_OTHER_VERBS | _OF_SHELLS_THAT_COMPLETE | _OF_ERRORS | _SLOW_TO_MAKE
    assert loaded & unused == set()


@pytest.mark.parametrize(
    "verb",
    [
        *(["top", "--once", "--interval", "0.1"], ["metrics"], ["loop", "list"], ["swap", "off", "/nowhere"]),
        *(["umount", "--if-mounted", "/nowhere"], ["accel", "list"], ["completion", "bash"], ["help", "status"]),
    ],
)
def test_verbs_that_mount_nothing_load_nothing_of_the_daemon(verb: list[str]) -> None:
    loaded = modules_loaded_by(*verb)
    assert f"zramfs.cli.{verb[0]}" in loaded
    assert loaded & _OF_THE_DAEMON == set()
