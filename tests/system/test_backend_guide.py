"""docs/backend_packages.md, word by word: its two packages are installed and mounted with."""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest
from guides import Block, blocks_of

from zramfs.mountpoint import find_mount, unmount

FILES_AND_COMMANDS = [block for block in blocks_of("docs/backend_packages.md") if block.language != ""]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment of its own that has what ours has; pip neither asks an index nor builds in isolation."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    ours = sysconfig.get_path("purelib")
    theirs = next(folder.glob("lib/python*/site-packages"))
    (theirs / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    for name, module in (("pip", "pip --quiet"), ("zramfs", "zramfs.cli.main")):
        (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {python} -m {module} "$@"\n')
        (folder / "bin" / name).chmod(0o755)
    return os.environ | {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def follow(blocks: list[Block], folder: Path, environment: dict[str, str]) -> str:
    """Write the files, type the commands; what these print. The mount point is one of the test's."""
    printed = ""
    for block in blocks:
        text = block.text.replace("/tmp/z", str(folder / "z"))  # noqa: S108 - as the page has it
        if block.file:
            (folder / block.file).parent.mkdir(exist_ok=True)
            (folder / block.file).write_text(text)
        elif block.language == "sh" and "clone of zramfs" not in text:
            command = ["bash", "-e", "-c", text]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
            assert done.returncode == 0, f"line {block.line}: {done.stdout}{done.stderr}"
            printed += done.stdout
    return printed


def test_packages_of_the_page_are_installed_and_mounted_with(tmp_path: Path, environment: dict[str, str]) -> None:
    try:
        printed = follow(FILES_AND_COMMANDS, tmp_path, environment)
    finally:
        left = find_mount(tmp_path / "z")
        if left is not None:
            unmount(left, lazily=True)
    assert "[xz]" in printed
    stream_stat = dict(line.split(" ", 1) for line in printed.splitlines() if line.startswith(("managed_", "percpu_")))
    assert int(stream_stat["managed_pages"]) > 0


def test_files_of_the_page_are_read_as_what_they_are() -> None:
    assert [block.file for block in FILES_AND_COMMANDS if block.file] == [
        "zramfs-xz/pyproject.toml",
        "zramfs-xz/zramfs_xz.py",
        "zramfs-xz/zramfs_xz.py",
    ]
