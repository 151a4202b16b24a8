import pytest

from zramfs.cli.mount_helper import is_call_of_mount, translate
from zramfs.errors import InvalidValue


def test_options_become_those_of_the_verb() -> None:
    options = "rw,size=1G,mem_limit=64M,accel=qpace:queue_depth=4,allow_other,nofail,x-systemd.automount"
    assert translate(["none", "/m", "-o", options]) == [
        *("mount", "--size=1G", "--mem-limit=64M", "--accel=qpace,queue_depth=4", "--allow-other", "--", "/m")
    ]
    assert translate(["none", "/m", "-v", "-o", "ro", "-t", "fuse.zramfs"]) == ["mount", "--read-only", "--", "/m"]


def test_unknown_option_is_told_what_it_may_have_meant() -> None:
    with pytest.raises(InvalidValue, match="did you mean size"):
        translate(["none", "/m", "-o", "sise=1G"])


def test_calls_of_mount_are_told_from_those_of_users() -> None:
    assert is_call_of_mount(["none", "/m", "-o", "rw"], "zramfs")
    assert is_call_of_mount(["none", "/m"], "/sbin/mount.fuse.zramfs")
    assert not is_call_of_mount(["mont", "/m"], "zramfs")
    assert not is_call_of_mount(["status", "/m", "-o", "NAME"], "zramfs")
