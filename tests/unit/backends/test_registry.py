import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import NoReturn

import pytest

from zramfs.backends import registry
from zramfs.backends.lz4 import LZ4
from zramfs.errors import InvalidValue, LibraryMissing


def announce(monkeypatch: pytest.MonkeyPatch, name: str, *values: str) -> None:
    announced = EntryPoints(EntryPoint(name, value, registry.ENTRY_POINT_GROUP) for value in values)
    monkeypatch.setattr(registry, "entry_points", announced.select)


def test_lz4_is_announced() -> None:
    assert "lz4" in registry.backend_names()
    assert registry.load_backend("lz4") is LZ4


def test_algorithms_are_in_the_kernels_order_and_others_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["zlib", "deflate", "lz4", "lzo-rle", "brotli", "zstd", "lzo"]
    announced = EntryPoints(EntryPoint(name, "x:X", registry.ENTRY_POINT_GROUP) for name in names)
    monkeypatch.setattr(registry, "entry_points", announced.select)
    assert registry.backend_names() == ["lzo-rle", "lzo", "lz4", "zstd", "deflate", "brotli", "zlib"]


def test_an_unknown_algorithm_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidValue, match=r"no algorithm 'nope': there are lzo-rle, .*lz4"):
        registry.load_backend("nope")
    with pytest.raises(InvalidValue, match=r"no algorithm 'zsdt': did you mean zstd\? There are lzo-rle, "):
        registry.load_backend("zsdt")


def test_a_backend_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, "mine", "zramfs.backends.lz4:LZ4")
    monkeypatch.setattr(type(LZ4), "name", "mine")
    assert registry.backend_names() == ["mine"]
    assert registry.load_backend("mine") is LZ4


def test_a_backend_with_another_name_than_announced_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, "lz5", "zramfs.backends.lz4:LZ4")
    with pytest.raises(InvalidValue, match=r"^algorithm 'lz5' is announced, but its backend has the name 'lz4'$"):
        registry.load_backend("lz5")


def test_a_name_that_two_packages_announce_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, "lz4", "zramfs.backends.lz4:LZ4", "other:LZ4")
    with pytest.raises(
        InvalidValue,
        match=r"^algorithm 'lz4' is announced twice, as other:LZ4 and zramfs\.backends\.lz4:LZ4",
    ):
        registry.load_backend("lz4")


def test_a_package_that_is_found_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, "lz4", "zramfs.backends.lz4:LZ4", "zramfs.backends.lz4:LZ4")
    assert registry.load_backend("lz4") is LZ4


def _exit(*_: object) -> NoReturn:
    sys.exit("not\nme")


@pytest.mark.parametrize("failure", [_exit, lambda *_: {}["nothing"]])
def test_a_package_that_fails_when_it_is_imported_is_refused(
    monkeypatch: pytest.MonkeyPatch, failure: Callable[..., object]
) -> None:
    announce(monkeypatch, "broken", "zramfs.backends.lz4:LZ4")
    monkeypatch.setattr(EntryPoint, "load", failure)
    with pytest.raises(InvalidValue, match=r"'broken' cannot be loaded: (SystemExit: not me|KeyError: 'nothing')"):
        registry.load_backend("broken")


def test_a_backend_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    announce(monkeypatch, "nameless", "zramfs.backends.lz4:LZ4")
    monkeypatch.setattr(type(LZ4), "name", 7)
    with pytest.raises(InvalidValue, match="'nameless' is announced, but its backend has the name 7"):
        registry.load_backend("nameless")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("zramfs.backends.lz4:X", r"cannot be loaded: AttributeError: module '.*' has no attribute 'X'$"),
        ("os:sep", r"cannot be used: os:sep is no instance of zramfs\.backend_api\.Backend, but a str$"),
        ("zramfs.backends.lz4:Lz4Backend", "cannot be used: .* is no instance of .*, but a class$"),
        ("nowhere.to_be_found:X", "cannot be loaded: there is no module nowhere$"),
        ("os:nothing.else", "cannot be loaded: AttributeError"),
    ],
)
def test_a_broken_package_is_refused(monkeypatch: pytest.MonkeyPatch, value: str, complaint: str) -> None:
    announce(monkeypatch, "broken", value)
    with pytest.raises(InvalidValue, match=f"'broken'.*{complaint}"):
        registry.load_backend("broken")


def test_what_a_package_lacks_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "needs_another.py").write_text("import nowhere.to_be_found")
    (tmp_path / "needs_a_name.py").write_text("from os import no_such_name")
    monkeypatch.syspath_prepend(tmp_path)
    announce(monkeypatch, "broken", "needs_another:X")
    with pytest.raises(LibraryMissing, match="the Python package nowhere is missing"):
        registry.load_backend("broken")
    announce(monkeypatch, "broken", "needs_a_name:X")
    with pytest.raises(LibraryMissing, match=r"ImportError: cannot import name 'no_such_name' from 'os' .*py:1\)$"):
        registry.load_backend("broken")
