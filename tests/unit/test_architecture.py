"""What may import what, by the table of docs/architecture.md: never upwards, and no folder one of its own level.

The table is the only list: parts of zramfs that it leaves out, or names without having them, fail as well.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import zramfs

ROOT = Path(zramfs.__file__).parent
PICTURE = ROOT.parent / "docs" / "architecture.md"

FILES = sorted(path for suffix in ("py", "pyi", "pyx", "pxd") for path in ROOT.rglob(f"*.{suffix}"))

_ROW = re.compile(r"^\| (\d+) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
_NAMES = re.compile(r"`([\w*/.]+)`")
_FILES = re.compile(r"`([\w*/]+\.(?:py|pyx|pxd|c|h|toml))`")

_COMMENT_OR_CONTINUATION = re.compile(r"#.*$|\\\n", re.MULTILINE)
_CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from\s+(?P<source>[\w.]+)\s+c?import\s+(?P<names>\([^)]*\)|.*)|c?import\s+(?P<modules>[^(\n]+))$",
    re.MULTILINE,
)


def rows_of_the_table() -> list[tuple[int, list[str], list[str]]]:
    """The level of each row, its parts as they are written (`pool/`, `units.py`), and the files that it tells of."""
    section = PICTURE.read_text().partition("\n## Levels\n")[2].partition("\n## ")[0]
    return [(int(level), _NAMES.findall(parts), _FILES.findall(words)) for level, parts, words in _ROW.findall(section)]


ROWS = rows_of_the_table()
WRITTEN = [(name, level) for level, names, _ in ROWS for name in names]
LEVELS = {name.split(".")[0].removesuffix("/"): level for name, level in WRITTEN}


@cache
def modules_imported_by(path: Path) -> list[str]:
    """Dotted names; of ``from a import b`` both ``a`` and ``a.b``, as b may be a module."""
    found = cython_imports if path.suffix in {".pyx", ".pxd"} else python_imports
    modules = list(found(path.read_text()))
    for module in modules:
        assert not module.startswith("."), f"{path} imports relatively: {module}"
    return modules


def python_imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            yield from (name for alias in node.names for name in (source, f"{source}.{alias.name}"))


def cython_imports(text: str) -> Iterator[str]:
    """Names imported and cimported, told by the first words of a line: Cython's parser wants a whole compilation."""
    for found in _CYTHON_IMPORT.finditer(_COMMENT_OR_CONTINUATION.sub("", text)):
        source = found["source"]
        names = (found["names"] or found["modules"]).strip("() \t\n").split(",")
        firsts = [name.split()[0] for name in names if name.strip()]
        yield from firsts if source is None else [source, *(f"{source}.{name}" for name in firsts)]


def part_of(path: Path) -> str:
    """The folder or module right below zramfs/ that a file belongs to."""
    return path.relative_to(ROOT).parts[0].split(".")[0]


def parts_imported_by(path: Path) -> set[str]:
    modules = (module.split(".") for module in modules_imported_by(path))
    return {module[1] for module in modules if module[0] == "zramfs" and len(module) > 1} & set(LEVELS)


def module_of(path: Path) -> str:
    """Return the dotted name that the .py, .pyx, .pxd and .pyi of a module share."""
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


PARTS = sorted({part_of(path) for path in FILES})


def parts_imported_in(part: str) -> list[tuple[str, set[str]]]:
    """Each file of a part, and what it imports."""
    return [(name_of(path), parts_imported_by(path)) for path in FILES if part_of(path) == part]


def packages_imported_by(path: Path) -> set[str]:
    return {module.split(".")[0] for module in modules_imported_by(path)}


def test_the_table_names_every_part_once_and_no_other() -> None:
    there = {part_of(path) for path in FILES}
    assert sorted(name.split(".")[0].removesuffix("/") for name, _ in WRITTEN) == sorted(there)


@pytest.mark.parametrize("name", [name for name, _ in WRITTEN])
def test_a_part_is_what_the_table_calls_it(name: str) -> None:
    assert (ROOT / name).is_dir() if name.endswith("/") else (ROOT / name).is_file()


@pytest.mark.parametrize(("parts", "file"), [(parts, file) for _, parts, files in ROWS for file in files])
def test_a_file_that_a_row_tells_of_is_in_its_folder(parts: list[str], file: str) -> None:
    assert any(list((ROOT / part).glob(file)) for part in parts if part.endswith("/"))


@pytest.mark.parametrize("part", PARTS)
def test_lower_levels_never_import_upper_ones(part: str) -> None:
    level = LEVELS.get(part, -1)
    upwards = {file: {each for each in found if LEVELS[each] > level} for file, found in parts_imported_in(part)}
    assert {file: found for file, found in upwards.items() if found} == {}


@pytest.mark.parametrize("folder", [part for part in PARTS if (ROOT / part).is_dir()])
def test_folders_of_one_level_never_import_each_other(folder: str) -> None:
    beside = {part for part in PARTS if LEVELS.get(part) == LEVELS.get(folder) and (ROOT / part).is_dir()} - {folder}
    assert {file: found & beside for file, found in parts_imported_in(folder) if found & beside} == {}


def test_no_module_imports_itself_by_way_of_others() -> None:
    modules = {module_of(path) for path in FILES if path.stem != "__init__"}
    graph: dict[str, set[str]] = {}
    for path in FILES:
        own = module_of(path)
        graph.setdefault(own, set()).update(modules & set(modules_imported_by(path)) - {own})
    TopologicalSorter(graph).prepare()  # CycleError names the modules of a ring


def test_only_fuse_imports_pyfuse3() -> None:
    elsewhere = [path for path in FILES if part_of(path) != "fuse"]
    assert [name_of(path) for path in elsewhere if "pyfuse3" in packages_imported_by(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "from zramfs.accel cimport ring",
        "from zramfs.accel.ring cimport Ring as R, Engine",
        "from zramfs.accel.ring cimport (\n    Ring,  # a ring\n    Engine,\n)",
        "from zramfs cimport bio, accel",
        "from zramfs cimport (\n    bio,\n    accel,\n)",
        "from zramfs cimport bio, \\\n    accel",
        "cimport zramfs.accel",
        "cimport zramfs.accel.ring as ring",
        "cimport cython, zramfs.accel.ring",
        "import zramfs.accel.ring",
        "    from zramfs.accel import ring  # within a function",
    ],
)
def test_every_way_to_import_in_cython_is_seen(text: str) -> None:
    assert "zramfs.accel" in {".".join(name.split(".")[:2]) for name in cython_imports(f"x = 1\n{text}\n")}


@pytest.mark.parametrize("text", ["from . cimport ring", "from .ring cimport Ring", "from ..accel import driver"])
def test_a_relative_import_is_none_that_is_overlooked(text: str, tmp_path: Path) -> None:
    file = tmp_path / "module.pyx"
    file.write_text(f"{text}\n")
    with pytest.raises(AssertionError, match="relatively"):
        modules_imported_by(file)


def test_this_test_sees_the_imports_that_there_are() -> None:
    assert {"zcomp", "units", "errors", "block", "device"} <= parts_imported_by(ROOT / "device" / "device.py")
    assert {"pool", "codec", "atomic"} <= parts_imported_by(ROOT / "block" / "store.pyx")
    assert {"codec"} <= parts_imported_by(ROOT / "accel" / "ring.pyx")
    assert "pyfuse3" in set(modules_imported_by(ROOT / "fuse" / "filesystem.py"))
