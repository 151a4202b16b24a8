"""Mounts of root and of others, each met by the other's verbs."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mounts import ZRAMFS

Run = Callable[..., subprocess.CompletedProcess[str]]

AS_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent"

# What an unprivileged user needs, in a mount namespace: a /dev/fuse, and the way to the Python in somebody's home.
PRELUDE = r"""
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755,dev none "$SCRATCH"
mknod "$SCRATCH/fuse" c 10 229
chmod 666 "$SCRATCH/fuse"
mount --bind "$SCRATCH/fuse" /dev/fuse
for home in $HOMES; do
    mkdir -p "$SCRATCH/homes$home"
    mount --bind "$home" "$SCRATCH/homes$home"
done
if [ -n "$HOMES" ]; then
    mount -t tmpfs -o mode=755 none /root
    for home in $HOMES; do
        mkdir -p "$home"
        mount --bind "$SCRATCH/homes$home" "$home"
    done
fi
mkdir "$SCRATCH/mnt"
chown 65534:65534 "$SCRATCH/mnt"
cd "$SCRATCH"
set +e
"""


@pytest.fixture
def run_script() -> Iterator[Run]:
    """Run a script where the user nobody may mount; $M is nobody's folder, Z the verbs, N runs as nobody."""
    places = {Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve(), Path(ZRAMFS).resolve().parents[2]}
    homes = [str(place) for place in places if place.is_relative_to("/root")]
    with TemporaryDirectory(dir="/tmp", prefix="zramfs-users-") as scratch:
        environment = os.environ | {"SCRATCH": scratch, "HOMES": " ".join(homes), "M": f"{scratch}/mnt"}
        words = f"Z={shlex.quote(ZRAMFS)}\nN={shlex.quote(AS_NOBODY)}\nM={scratch}/mnt\n"

        def run(script: str) -> subprocess.CompletedProcess[str]:
            probe = "$N $Z --version >/dev/null 2>&1 || exit 77\n"
            result = subprocess.run(
                ["unshare", "--mount", "bash", "-c", PRELUDE + words + probe + script],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if result.returncode == 77:
                pytest.skip("an unprivileged user cannot run the zramfs under test, where it is installed")
            return result

        yield run


MOUNT = "$N $Z mount $M --size 16M --log-file /dev/null && "


def test_root_sees_and_ends_a_users_mount(run_script: Run) -> None:
    done = run_script(
        MOUNT + "coproc $N sh -c 'exec 3<$1/zram0; echo; read end' - $M; read <&${COPROC[0]}\n"
        "$Z status $M && $Z umount $M || echo >&${COPROC[1]}\n"
        "wait; $Z umount $M && grep $M /proc/mounts"
    )
    assert re.search(r"zram0 +lz4 +16M", done.stdout)
    assert re.search(r"is busy: it is used by \d+ \(sh\)$", done.stderr)
    assert done.stderr.count("\n") == 1
    assert "fuse.zramfs" not in done.stdout


def test_root_takes_a_users_dead_mount_away(run_script: Run) -> None:
    done = run_script(
        MOUNT + 'P=$($N cat $M/sys/fs/zramfs/pid) && kill -9 $(pgrep -f "fusermount3 .*$M") $P && sleep 0.2 && '
        "grep -q $M /proc/mounts && $Z umount $M && ! grep -q $M /proc/mounts"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_user_is_told_whose_mount_it_is(run_script: Run) -> None:
    refused = run_script(
        "mkdir r; $Z mount r --size 16M --allow-other --log-file /dev/null && $N $Z status r >/dev/null && echo seen\n"
        "$N $Z umount r; $Z umount r\n"
        "$Z mount r --size 16M --log-file /dev/null; $N $Z status r; $Z umount r"
    )
    assert refused.stdout == "seen\n"
    lines = refused.stderr.splitlines()
    assert lines[0] == "zramfs: the zramfs at r is root's: only its owner and root can unmount it"
    assert lines[1].endswith("/r is root's, and not shown to others")
    assert len(lines) == 2


def test_users_program_has_a_disk_and_is_refused_a_loop_device_in_a_line(run_script: Run) -> None:
    python = shlex.quote(str(Path(ZRAMFS).with_name("python")))
    done = run_script(
        f"""TMPDIR=$M $N {python} - <<'END'
import zramfs

with zramfs.mount(size="16M", log_file="/dev/null") as disk:
    disk.block_file.write_bytes(b"slot " * 100_000)
    print(disk.status().devices[0].mm_stat.orig_data_size)
    try:
        with disk.loop():
            pass
    except zramfs.CommandFailed as error:
        print(error)
print(disk.path.exists())
END"""
    )
    stored, refused, is_there = done.stdout.splitlines()
    assert int(stored) == 123 * 4096
    assert "loop devices need root" in refused
    assert is_there == "False"
    assert done.stderr == ""


def test_user_runs_a_command_with_a_mount(run_script: Run) -> None:
    done = run_script(
        "export TMPDIR=$SCRATCH/mnt\n"
        "$N $Z run --size 16M -- sh -c 'echo text >$ZRAMFS_FILE && head -c4 $ZRAMFS_FILE; "
        "sleep 600 <$ZRAMFS_FILE & exit 3'\n"
        "echo ended $? $(ls -A $M) $(grep -c $M /proc/mounts)\n"
        "$N $Z run --size 16M -- sh -c '$0 loop attach $ZRAMFS_DIR' $Z; echo attach $?"
    )
    assert done.stdout.split("\n")[:1] == ["textended 3 0"], done.stderr
    assert "attach 1" in done.stdout
    lines = done.stderr.splitlines()
    assert "(sleep)" in lines[0]
    assert len(lines) == 2, lines
    assert "root" in lines[1], lines[1]
