"""What may import what, by the table of docs/architecture.md: never upwards, and no folder one of its own level."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import zramfs

ROOT = Path(zramfs.__file__).parent

LEVELS = {
    "cli": 7,
    "fuse": 6,
    "control": 6,
    "compare": 6,
    "namespace": 6,
    "device": 5,
    "zcomp": 4,
    "backends": 3,
    "accel": 2,
    "pool": 1,
    "codec": 1,
    "bio": 1,
    "contracts": 1,
    "streams": 1,
    "request_memory": 0,
    "process": 0,
    "loop_device": 0,
    "memory": 0,
    "libraries": 0,
    "kernel": 0,
    "mountinfo": 0,
    "mountpoint": 0,
    "patience": 0,
    "walk": 0,
    "beneath": 0,
    "foreign": 0,
    "outputs": 0,
    "clock": 0,
    "threads": 0,
    "units": 0,
    "errors": 0,
}

FILES = sorted(path for suffix in ("py", "pyi", "pyx", "pxd") for path in ROOT.rglob(f"*.{suffix}"))

_CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+([\w, ]+)|c?import\s+([\w.]+))", re.MULTILINE)


def modules_imported_by(path: Path) -> Iterator[str]:
    """Dotted names; of ``from a import b`` both ``a`` and ``a.b``, as b may be a module."""
    text = path.read_text()
    if path.suffix in (".pyx", ".pxd"):
        for source, names, module in _CYTHON_IMPORT.findall(text):
            yield source or module
            yield from (f"{source}.{name.split()[0]}" for name in names.split(",") if name.strip())
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (name for alias in node.names for name in (str(node.module), f"{node.module}.{alias.name}"))


def part_of(path: Path) -> str:
    """The folder or module right below zramfs/ that a file belongs to."""
    return path.relative_to(ROOT).parts[0].split(".")[0]


def parts_imported_by(path: Path) -> set[str]:
    modules = (module.split(".") for module in modules_imported_by(path))
    parts = {module[1] for module in modules if module[0] == "zramfs" and len(module) > 1}
    return {part for part in parts if part in LEVELS or (ROOT / part).exists() or (ROOT / f"{part}.py").exists()}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_part_has_a_level() -> None:
    assert {part_of(path) for path in FILES} - {"__init__"} == set(LEVELS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_lower_levels_never_import_upper_ones(path: Path) -> None:
    level = LEVELS.get(part_of(path), -1)
    assert {part for part in parts_imported_by(path) if LEVELS[part] > level} == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_folders_of_one_level_never_import_each_other(path: Path) -> None:
    own = part_of(path)
    beside = {part for part in parts_imported_by(path) - {own} if LEVELS[part] == LEVELS[own]}
    assert not (ROOT / own).is_dir() or not {part for part in beside if (ROOT / part).is_dir()}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_fuse_imports_pyfuse3(path: Path) -> None:
    imports_it = any(module.split(".")[0] == "pyfuse3" for module in modules_imported_by(path))
    assert not imports_it or part_of(path) == "fuse"


def test_this_test_sees_the_imports_that_there_are() -> None:
    assert {"zcomp", "contracts", "errors", "bio", "device"} <= parts_imported_by(ROOT / "device" / "device.py")
    assert {"pool", "codec", "errors"} <= parts_imported_by(ROOT / "device" / "slots.pyx")
    assert {"codec"} <= parts_imported_by(ROOT / "accel" / "ring.pyx")
    assert "pyfuse3" in set(modules_imported_by(ROOT / "fuse" / "filesystem.py"))
