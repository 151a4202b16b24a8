import subprocess
import sys

import pytest

import zramfs

_HEAVY = ("asyncio", "click", "pyfuse3", "pytest", "rich", "trio")


def modules_loaded_by(program: str) -> set[str]:
    shown = f"import sys; before = set(sys.modules); {program}; print(*(set(sys.modules) - before))"
    return set(subprocess.check_output([sys.executable, "-c", shown], text=True).split())


def test_importing_the_package_imports_nothing_else() -> None:
    loaded = modules_loaded_by("import zramfs")
    assert "zramfs" in loaded
    assert not [name for name in loaded if name.startswith("zramfs.") or name in _HEAVY]


def test_no_public_name_loads_what_the_daemon_needs() -> None:
    loaded = modules_loaded_by("import zramfs; [getattr(zramfs, name) for name in zramfs.__all__]")
    assert "zramfs.library.mounting" in loaded
    assert not loaded & set(_HEAVY)


@pytest.mark.parametrize("name", zramfs.__all__)
def test_public_names_are_listed_and_there(name: str) -> None:
    assert name in dir(zramfs)
    assert getattr(zramfs, name).__doc__


def test_a_newcomer_is_shown_public_names_only() -> None:
    assert [name for name in dir(zramfs) if not name.startswith("__")] == zramfs.__all__


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'zramfs' has no attribute 'no_such_name'"):
        zramfs.no_such_name  # noqa: B018


def test_every_name_that_a_backend_needs_is_public() -> None:
    from zramfs import backend_api  # noqa: PLC0415

    assert {"Backend", "FunctionCodec", "PageCodec", "RunCompressor", "StreamManager"} <= set(backend_api.__all__)
    assert all(hasattr(backend_api, name) for name in backend_api.__all__)
