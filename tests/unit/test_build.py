"""What setup.py says of the compiled parts is true: nothing is left out, and nothing is named that is not there."""

import ast
from pathlib import Path
from typing import Any

import pytest

import zramfs

ROOT = Path(zramfs.__file__).parents[1]
LONGEST = 120


def table(name: str) -> Any:
    """A constant of setup.py, which cannot be imported: it builds."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"setup.py has no {name}")


@pytest.mark.parametrize("name", sorted({*table("LIBRARIES"), *table("C_SOURCES")}))
def test_a_module_with_libraries_or_c_sources_is_there(name: str) -> None:
    assert ROOT.joinpath(*name.split(".")).with_suffix(".pyx").is_file()


def test_every_c_file_belongs_to_one_module() -> None:
    named = sorted(source for sources in table("C_SOURCES").values() for source in sources)
    assert named == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "zramfs").rglob("*.c"))


@pytest.mark.parametrize("suffix", ["pyx", "pxd", "c", "h"])
def test_every_kind_of_source_is_noticed_by_setup(suffix: str) -> None:
    script = (ROOT / "scripts" / "setup.sh").read_text()
    line = next(line for line in script.splitlines() if line.startswith("mapfile -t sources"))
    assert f"*.{suffix}" in line or (suffix in "ch" and "*.[ch]" in line)


def test_lines_of_compiled_sources_are_no_longer_than_pythons() -> None:
    """Ruff looks at Python only."""
    files = [path for folder in ("zramfs", "scripts", "tests") for path in (ROOT / folder).rglob("*.[pch]*")]
    compiled = [path for path in files if path.suffix in {".pyx", ".pxd", ".c", ".h"}]
    assert compiled
    too_long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in compiled
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LONGEST
    ]
    assert too_long == []
