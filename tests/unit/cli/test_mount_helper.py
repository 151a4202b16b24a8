import re

import pytest

from zramfs.cli.mount import mount
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


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("size", "option size of a mount needs a value: size=…"),
        ("pid-file", "option pid-file of a mount needs a value: pid-file=…"),
        ("allow_other=1", "option allow_other of a mount takes no value"),
        ("ro=0", "option ro of a mount takes no value"),
        ("=5", "no option '=5' of a mount"),
    ],
)
def test_option_that_lacks_its_value_or_has_one_too_many_is_told_so(option: str, says: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{re.escape(says)}"):
        translate(["none", "/m", "-o", option])


def test_mount_that_is_to_be_faked_does_nothing() -> None:
    assert translate(["none", "/m", "-f", "-o", "size=1G"]) == []


def test_every_option_of_the_verb_that_a_mount_of_the_system_can_have_is_one_of_its_options() -> None:
    names = {option for parameter in mount.params for option in parameter.opts if option.startswith("--")}
    for name in names - {"--foreground", "--exit-with-parent", "--log-file"}:
        flag = name.removeprefix("--")
        takes_value = flag not in {"allow-other", "read-only"}
        (word,) = translate(["none", "/m", "-o", f"{flag}=9" if takes_value else flag])[1:-2]
        assert word == (f"{name}=9" if takes_value else name)


def test_calls_of_mount_are_told_from_those_of_users() -> None:
    assert is_call_of_mount(["none", "/m", "-o", "rw"], "zramfs")
    assert is_call_of_mount(["none", "/m"], "/sbin/mount.fuse.zramfs")
    assert not is_call_of_mount(["mont", "/m"], "zramfs")
    assert not is_call_of_mount(["status", "/m", "-o", "NAME"], "zramfs")
