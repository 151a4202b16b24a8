"""The sections of docs/first_steps.md, command by command as they stand there."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from mounts import ZRAMFS

PAGE = Path(__file__).parents[2] / "docs/first_steps.md"

SECTIONS = {
    title: "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    for title, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
}

CLEAN_UP = """
clean_up() {
    code=$?
    set +e
    umount -q fs
    for mount in disk scratch; do zramfs loop detach $mount; zramfs umount --if-mounted $mount; done
    exit $code
} 2>/dev/null
trap clean_up EXIT
set -eu -o pipefail
"""


@pytest.mark.parametrize("title", SECTIONS)
def test_section_works_as_it_stands(title: str, tmp_path: Path) -> None:
    path = f"{Path(ZRAMFS).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", CLEAN_UP + SECTIONS[title]],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_all_sections_are_found() -> None:
    assert len(SECTIONS) == 3
    assert all(SECTIONS.values())
