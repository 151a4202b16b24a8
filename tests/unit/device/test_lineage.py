"""Over a sysfs of plain files: what lies beneath what."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from zramfs.device.lineage import Lineage, OwnMount
from zramfs.errors import LiesOnOwnMount
from zramfs.mountinfo import parse_mounts

OWN = os.makedev(0, 55)

MOUNTS = b"""\
1 0 8:2 / / rw - ext4 /dev/sda2 rw
2 1 0:5 / /dev rw - devtmpfs devtmpfs rw
3 1 0:55 / /mnt/own rw - fuse.zramfs zramfs rw,user_id=0
4 1 0:55 / /mnt/bound rw - fuse.zramfs zramfs rw,user_id=0
5 1 7:3 / /mnt/ext4 rw - ext4 /dev/loop3 rw
6 1 7:4 / /mnt/elsewhere rw - ext4 /dev/loop4 rw
7 1 0:60 / /mnt/overlay rw - overlay overlay rw,lowerdir=/usr:/mnt/ext4/lower,upperdir=/var/u,workdir=/var/w
8 1 0:61 / /mnt/harmless rw - overlay overlay rw,lowerdir=/usr:relative,upperdir=/var/u,workdir=/var/w
9 1 0:62 / /mnt/btrfs rw - btrfs SYS/nodes/loop4 rw
10 1 0:63 / /mnt/nfs rw - nfs4 server:/export rw
11 1 0:64 / /mnt/itself rw - overlay overlay rw,lowerdir=/mnt/itself
"""


class FakeLoops:
    """What the kernel tells of loop devices, beside sysfs."""

    def __init__(self, file_systems: dict[int, int]) -> None:
        self.file_systems = file_systems
        self.asked: list[int] = []

    def file_system_of(self, number: int) -> int | None:
        self.asked.append(number)
        return self.file_systems.get(number)


class FakeSysfs:
    """Block devices as folders below sys/devices, and links to them by number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "dev/block").mkdir(parents=True)

    def add(self, name: str, device: str, *, below: str = "", slaves: tuple[str, ...] = (), **files: str) -> None:
        folder = self.path / "devices" / below / name
        (folder / "slaves").mkdir(parents=True)
        (folder / "dev").write_text(f"{device}\n")
        for slave in slaves:
            (folder / "slaves" / slave).symlink_to(self.path / "devices" / slave)
        for file, text in files.items():
            place = folder / file.replace("__", "/")
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)
        (self.path / "dev/block" / device).symlink_to(folder)


@pytest.fixture
def sysfs(tmp_path: Path) -> FakeSysfs:
    made = FakeSysfs(tmp_path)
    made.add("sda", "8:0")
    made.add("sda2", "8:2", below="sda", partition="2\n")
    made.add("loop0", "7:0", loop__backing_file="/mnt/own/zram0\n")
    made.add("loop0p1", "259:1", below="loop0", partition="1\n")
    made.add("loop1", "7:1", loop__backing_file="/mnt/bound/zram1 (deleted)\n")
    made.add("loop2", "7:2", loop__backing_file="/var/disk\n")
    made.add("loop3", "7:3", loop__backing_file="/mnt/own/zram2\n")
    made.add("loop4", "7:4", loop__backing_file="/var/disk2\n")
    made.add("loop5", "7:5", loop__backing_file="/mnt/ext4/disk\n")
    made.add("loop6", "7:6", loop__backing_file="/gone/zram0\n")
    made.add("loop7", "7:7")
    made.add("dm-0", "254:0", slaves=("sda", "loop2", "loop0"))
    made.add("dm-1", "254:1", slaves=("dm-0",))
    made.add("dm-2", "254:2", slaves=("sda",))
    made.add("md0", "9:0", slaves=("md0", "sda"))
    made.add("zram1", "253:1", backing_dev="none\n")
    return made


@pytest.fixture
def lineage(sysfs: FakeSysfs) -> Callable[..., Lineage]:
    def make(*, own: int | None = OWN, loops: FakeLoops | None = None) -> Lineage:
        mounts = parse_mounts(MOUNTS.replace(b"SYS", str(sysfs.path).encode()))
        return Lineage(own, mounts, sysfs=sysfs.path, loops=loops or FakeLoops({}))

    return make


@pytest.mark.parametrize(
    ("device", "way"),
    [
        ("7:0", ("loop0", "/mnt/own")),
        ("259:1", ("loop0p1", "loop0", "/mnt/own")),
        ("7:1", ("loop1", "/mnt/bound")),
        ("7:5", ("loop5", "/mnt/ext4", "loop3", "/mnt/own")),
        ("254:0", ("dm-0", "loop0", "/mnt/own")),
        ("254:1", ("dm-1", "dm-0", "loop0", "/mnt/own")),
        ("7:2", None),
        ("7:7", None),
        ("8:2", None),
        ("9:0", None),
        ("254:2", None),
        ("253:1", None),
        ("99:99", None),
    ],
)
def test_way_from_block_device(lineage: Callable[..., Lineage], device: str, way: tuple[str, ...] | None) -> None:
    assert lineage().way_from_device(device) == way


@pytest.mark.parametrize(
    ("point", "way"),
    [
        ("/mnt/own", ("/mnt/own",)),
        ("/mnt/bound", ("/mnt/bound",)),
        ("/mnt/ext4", ("/mnt/ext4", "loop3", "/mnt/own")),
        ("/mnt/overlay", ("/mnt/overlay", "/mnt/ext4", "loop3", "/mnt/own")),
        ("/", None),
        ("/mnt/elsewhere", None),
        ("/mnt/harmless", None),
        ("/mnt/nfs", None),
        ("/mnt/itself", None),
    ],
)
def test_way_from_file_system(lineage: Callable[..., Lineage], point: str, way: tuple[str, ...] | None) -> None:
    asked = lineage()
    (mount,) = (mount for mount in asked.mounts if mount.point == Path(point))
    assert asked.way_from_mount(mount) == way


def test_every_device_of_a_btrfs_counts(lineage: Callable[..., Lineage], sysfs: FakeSysfs) -> None:
    devices = sysfs.path / "fs/btrfs/some-uuid/devices"
    devices.mkdir(parents=True)
    for name in ("loop0", "loop4"):
        (devices / name).symlink_to(sysfs.path / "devices" / name)
    asked = lineage()
    (btrfs,) = (mount for mount in asked.mounts if mount.kind == "btrfs")
    assert asked.way_from_mount(btrfs) == ("/mnt/btrfs", "loop0", "/mnt/own")


def test_a_loop_device_whose_file_has_no_name_here_is_asked_for_its_file_system(
    lineage: Callable[..., Lineage],
) -> None:
    assert lineage(loops=FakeLoops({6: OWN})).way_from_device("7:6") == ("loop6", "a file of this mount")
    through_ext4 = lineage(loops=FakeLoops({6: os.makedev(7, 3)}))
    assert through_ext4.way_from_device("7:6") == ("loop6", "/mnt/ext4", "loop3", "/mnt/own")


def test_a_loop_device_that_is_known_to_be_over_our_mount_is_not_asked(lineage: Callable[..., Lineage]) -> None:
    loops = FakeLoops({0: OWN})
    assert lineage(loops=loops).way_from_device("259:1") is not None
    assert loops.asked == []


def test_another_zramfs_is_asked_for_its_backing_devices(lineage: Callable[..., Lineage], tmp_path: Path) -> None:
    device = tmp_path / "other/sys/block/zram0"
    device.mkdir(parents=True)
    (device / "backing_dev").write_text("/mnt/own/zram1\n")
    asked = lineage()
    other = parse_mounts(f"20 1 0:70 / {tmp_path}/other rw - fuse.zramfs zramfs rw,user_id=0\n".encode())[0]
    assert asked.way_from_mount(other) == (f"{tmp_path}/other", "/mnt/own/zram1", "/mnt/own")


def test_nothing_is_our_own_before_it_is_mounted(lineage: Callable[..., Lineage]) -> None:
    assert lineage(own=None).way_from_device("7:0") is None


def test_what_lies_on_our_mount_is_refused_and_whatever_else_is_found(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("here")
    (tmp_path / "link").symlink_to("/proc/version")
    own = OwnMount(Path("/proc").stat().st_dev)
    with own.found_elsewhere(str(tmp_path / "disk")) as fd:
        assert os.path.samestat(os.fstat(fd), (tmp_path / "disk").stat())
    for path in ("/proc/version", str(tmp_path / "link")):
        refused_with = pytest.raises(LiesOnOwnMount, match=r"lies on this mount: /proc")
        with refused_with as refused, own.found_elsewhere(path):
            pass
        assert refused.value.errno == 22
