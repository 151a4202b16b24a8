"""The walks through the code in docs/architecture.md: each function exists, and each calls the next one.

What a function calls is told by its text: the name with a parenthesis behind it.
"""

import re
from collections.abc import Iterator
from functools import cache, partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import pytest

import zramfs

ROOT = Path(zramfs.__file__).parent
SECTION = (ROOT.parent / "docs/architecture.md").read_text().partition("\n## Five walks\n")[2].partition("\n## ")[0]

_WALK = re.compile(r"^- \*\*(?P<name>.+?)\*\*(?P<rest>.*?)(?=^- |\Z)", re.MULTILINE | re.DOTALL)
_CHAIN = re.compile(r"`([^`]*[→⇢][^`]*)`")
_DEFINITION = re.compile(r"( *)(?:async def|def|cpdef|cdef(?! class| enum| struct))\b[^=]*?\b(\w+)\(")


class Step(NamedTuple):
    """A function of a walk, the next one, and whether it calls that by its name."""

    caller: str
    callee: str
    is_call: bool


def steps() -> Iterator[Step]:
    for walk in _WALK.finditer(SECTION):
        for chain in _CHAIN.findall(walk["rest"]):
            parts = re.split(r"\s*([→⇢])\s*", chain)
            for caller, arrow, callee in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
                yield Step(caller, callee, arrow == "→")


STEPS = sorted(set(steps()))


@cache
def modules() -> dict[str, list[Path]]:
    """Files by the dotted names of their modules; a .pxd may have functions as well."""
    found: dict[str, list[Path]] = {}
    for suffix in ("py", "pyx", "pxd"):
        for path in ROOT.rglob(f"*.{suffix}"):
            found.setdefault(".".join(path.relative_to(ROOT).with_suffix("").parts), []).append(path)
    return found


def functions(path: Path, name: str) -> Iterator[str]:
    """Find what stands behind the first line of each function of this name."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if (found := _DEFINITION.match(line)) and found[2] == name:
            yield "\n".join(takewhile(partial(is_within, len(found[1])), lines[number + 1 :]))


def is_within(indent: int, line: str) -> bool:
    """Whether a line belongs to a function that is indented so far: its arguments may end where it began."""
    return not line.strip() or line[: indent + 1].isspace() or line.lstrip().startswith(")")


@cache
def bodies(name: str) -> str:
    """Return the text of a function, behind its name; of all methods that share it in the module."""
    module, _, function = name.rpartition(".")
    files = {each: paths for each, paths in modules().items() if f".{each}".endswith(f".{module}")}
    assert len(files) == 1, f"{name} is in {sorted(files) or 'no module'}"
    found = [text for paths in files.values() for path in paths for text in functions(path, function)]
    assert found, f"{module} has no {function}"
    return "\n".join(found)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.caller} to {step.callee}")
def test_function_calls_the_next_one(step: Step) -> None:
    assert bodies(step.callee)
    called = step.callee.rpartition(".")[2]
    assert not step.is_call or re.search(rf"\b{called}\(", bodies(step.caller)), bodies(step.caller)


def test_all_walks_are_seen() -> None:
    assert len(_WALK.findall(SECTION)) == 5
    assert len(STEPS) > 50


def test_function_that_is_none_or_calls_another_one_is_found() -> None:
    with pytest.raises(AssertionError, match="has no"):
        bodies("submission.submits")
    with pytest.raises(AssertionError, match="is in"):
        bodies("request.submit")
    assert not re.search(r"\bpunch\(", bodies("submission.read"))
