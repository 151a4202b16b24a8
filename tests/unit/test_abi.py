"""The table of what kernels do differently, in code and for readers."""

import re
from dataclasses import fields
from pathlib import Path

import zramfs
from zramfs.abi import ABIS, NEWEST, ZramAbi

_DOCS = Path(zramfs.__file__).parent.parent / "docs" / "zram-abi.md"
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", re.MULTILINE)

RULES = {field.name for field in fields(ZramAbi)} - {"name"}


def test_readers_have_the_same_table() -> None:
    section = _DOCS.read_text().partition("\n## Which kernel\n")[2].partition("\n## ")[0]
    assert {rule for rule, _, _ in _ROW.findall(section)} == RULES


def test_the_newest_has_all_rules_and_the_oldest_none() -> None:
    values = [[getattr(abi, rule) for rule in sorted(RULES)] for abi in ABIS.values()]
    assert not any(values[0])
    assert all(values[-1])
    assert list(ABIS.values())[-1] is NEWEST
