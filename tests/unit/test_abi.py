"""The table of what kernels do differently, in code and for readers."""

import re
from dataclasses import fields
from pathlib import Path

import zramfs
from zramfs import abi
from zramfs.abi import ABIS, NEWEST, ZramAbi

_DOCS = Path(zramfs.__file__).parent.parent / "docs" / "zram-abi.md"
_ROW = re.compile(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", re.MULTILINE)

_VERSION = re.compile(r'^    (\w+): bool\n    """[^"]*\((\d+\.\d+)\)\."""$', re.MULTILINE)

RULES = {field.name for field in fields(ZramAbi)} - {"name"}


def test_readers_have_the_same_table() -> None:
    section = _DOCS.read_text().partition("\n## Which kernel\n")[2].partition("\n## ")[0]
    rows = _ROW.findall(section)
    assert {rule for rule, _, _ in rows} == RULES
    assert {rule: since for rule, since, _ in rows} == dict(_VERSION.findall(Path(abi.__file__).read_text()))
    assert all("; " in rule_of_both for _, _, rule_of_both in rows)


def test_the_newest_has_all_rules_and_the_oldest_none() -> None:
    values = [[getattr(each, rule) for rule in sorted(RULES)] for each in ABIS.values()]
    assert not any(values[0])
    assert all(values[-1])
    assert list(ABIS.values())[-1] is NEWEST
