"""Control files that are copied: every way to read one gives what `cat` gives, as in sysfs."""

import mmap
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mounts import MIB, Mounted

Mount = Callable[..., Mounted]

PAGE = 4096
FOLDERS = ("sys/block", "sys/fs", "sys/kernel")
"""Without sys/class: to read hot_add makes a device."""

CHANGE = {"rss_bytes", "transport", "report"}
"""Names of files whose numbers change."""

DIGITS = re.compile(rb"\d+")
SYSFS = ("/sys/block/loop0/size", "/sys/kernel/uevent_seqnum", "/sys/kernel/fscaps")


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, cwd=cwd)


both_ways = pytest.mark.parametrize("mounted", [True, False], ids=["companion", "no companion"], indirect=True)


@pytest.fixture
def mounted(mount: Mount, request: pytest.FixtureRequest) -> Mounted:
    mounted = mount(size="16M", companion=getattr(request, "param", True))
    mounted.file.write_bytes(os.urandom(MIB) + bytes(range(256)) * 16 * 103)
    return mounted


def attributes(mounted: Mounted) -> list[Path]:
    """Those that can be read, from the mount point on."""
    found = (path for folder in FOLDERS for path in (mounted.path / folder).rglob("*") if path.is_file())
    return [path.relative_to(mounted.path) for path in found if path.stat().st_mode & stat.S_IRUSR]


def shown(mounted: Mounted) -> dict[Path, bytes]:
    texts = {path: subprocess.check_output(["cat", path], cwd=mounted.path) for path in attributes(mounted)}
    assert len(texts) >= 50
    assert len(next(text for path, text in texts.items() if path.name == "block_state")) > 2 * PAGE
    return texts


def by_cp(*options: str) -> Callable[[Path, Path], None]:
    def copy(source: Path, target: Path) -> None:
        complaints = run("cp", "-r", *options, "--parents", *FOLDERS, target, cwd=source).stderr.splitlines()
        assert [line for line in complaints if not line.endswith("for reading: Permission denied")] == []

    return copy


def by_tar(*options: str) -> Callable[[Path, Path], None]:
    def copy(source: Path, target: Path) -> None:
        run("tar", "-c", *options, "-f", target / "archive", *FOLDERS, cwd=source)
        run("tar", "-x", "-f", "archive", cwd=target)

    return copy


def by_file(copy_file: Callable[[Path, Path], object]) -> Callable[[Path, Path], None]:
    def copy(source: Path, target: Path) -> None:
        for folder in FOLDERS:
            for path in (source / folder).rglob("*"):
                if path.is_file() and path.stat().st_mode & stat.S_IRUSR:
                    copied = target / path.relative_to(source)
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    copy_file(path, copied)

    return copy


def by_program(*words: str) -> Callable[[Path, Path], None]:
    return by_file(
        lambda path, copied: subprocess.run(
            [word.format(path, copied) for word in words], check=True, capture_output=True
        )
    )


def by_rsync(source: Path, target: Path) -> None:
    run("rsync", "-a", "--relative", *FOLDERS, target, cwd=source)


WAYS = {
    "cp -r": by_cp(),
    "cp -a": by_cp("-a"),
    "cp --sparse=always": by_cp("--sparse=always"),
    "cp --sparse=never": by_cp("--sparse=never"),
    "cp --reflink=auto": by_cp("--reflink=auto"),
    "tar": by_tar(),
    "tar -S": by_tar("-S"),
    "install": by_program("install", "{0}", "{1}"),
    "dd": by_program("dd", "if={0}", "of={1}", "bs=100", "status=none"),
    "shutil": by_file(shutil.copyfile),
    "rsync": by_rsync,
}


@both_ways
def test_copies_are_what_cat_shows(mounted: Mounted, tmp_path: Path) -> None:
    texts = shown(mounted)
    for way, copy in WAYS.items():
        if shutil.which(way.split()[0]) or way == "shutil":
            target = tmp_path / way.replace(" ", "")
            target.mkdir()
            copy(mounted.path, target)
            assert {path for path, text in texts.items() if not is_copy(target / path, text, way)} == set(), way


def is_copy(copied: Path, text: bytes, way: str) -> bool:
    """Tell whether it is; tar makes its files as large as they are said to be, of sysfs as well."""
    content = copied.read_bytes()
    if way.startswith("tar") and copied.name != "block_state":
        content = content.rstrip(b"\0")
    return content == text or (copied.name in CHANGE and DIGITS.sub(b"", content) == DIGITS.sub(b"", text))


@contextmanager
def opened(path: Path | str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def test_parts_are_read_from_any_offset(mounted: Mounted) -> None:
    for path, text in shown(mounted).items():
        if path.name in CHANGE:
            continue
        parts = [(3, 2), (0, 5), (5, 1), (1, PAGE), (len(text) // 2, 10), (len(text), 10), (10 * PAGE, 10), (2, 3)]
        with opened(mounted.path / path) as fd:
            assert [os.pread(fd, count, at) for at, count in parts] == [text[at : at + count] for at, count in parts]


def test_pipes_are_given_what_is_shown_when_it_is_opened(mounted: Mounted) -> None:
    """The kernel reads for sendfile and splice by its page cache, which must not go on showing what it once read."""
    pipe_out, pipe_in = os.pipe()

    def sent(path: Path) -> bytes:
        with opened(path) as fd:
            return os.read(pipe_out, os.sendfile(pipe_in, fd, 0, PAGE))

    def spliced(path: Path) -> bytes:
        with opened(path) as fd:
            return os.read(pipe_out, os.splice(fd, pipe_in, PAGE, offset_src=0))

    block_state = mounted.path / "sys/kernel/debug/zram/zram0/block_state"
    try:
        for number in (1, 10, 2000, 70000, 3):
            mounted.attribute("writeback_limit").write_text(str(number))
            assert sent(mounted.attribute("writeback_limit")) == b"%d\n" % number
            mounted.attribute("writeback_limit").write_text(str(number * 10))
            assert spliced(mounted.attribute("writeback_limit")) == b"%d\n" % (number * 10)
        assert b" ..h...\n" in sent(block_state)
        mounted.attribute("idle").write_text("all")
        assert b" ..hi..\n" in sent(block_state)
    finally:
        os.close(pipe_out)
        os.close(pipe_in)


def ends_of(path: Path | str) -> list[int | str]:
    def seek(offset: int, whence: int) -> int | str:
        try:
            return os.lseek(fd, offset, whence)
        except OSError as error:
            return str(error.errno)

    with opened(path) as fd:
        offsets = (0, 1, 100, PAGE - 1, PAGE, PAGE + 1, -1)
        ways = (os.SEEK_DATA, os.SEEK_HOLE, os.SEEK_END, os.SEEK_SET)
        return [seek(offset, whence) for whence in ways for offset in offsets]


@both_ways
def test_data_holes_maps_and_ranges_are_sysfss(mounted: Mounted, tmp_path: Path) -> None:
    reference = next((path for path in SYSFS if Path(path).exists()), None)
    if reference is None:
        pytest.skip("no sysfs here")
    mine = mounted.attribute("mm_stat")
    assert ends_of(mine) == ends_of(reference)
    with opened(mine) as fd, (tmp_path / "copy").open("wb") as target:
        with pytest.raises(OSError, match="No such device"):
            mmap.mmap(fd, PAGE, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        with pytest.raises(OSError, match="Invalid cross-device link"):
            os.copy_file_range(fd, target.fileno(), PAGE, 0, 0)


def test_copy_of_hot_add_makes_one_device(mounted: Mounted, tmp_path: Path) -> None:
    hot_add = mounted.path / "sys/class/zram-control/hot_add"
    assert run("cp", hot_add, tmp_path / "number", cwd=tmp_path).returncode == 0
    assert (tmp_path / "number").read_text() == "1\n"
    assert sorted(path.name for path in mounted.path.glob("zram*")) == ["zram0", "zram1"]
