"""The pytest plugin: `zramfs_disk`, a fixture that is a compressed disk. docs/library.md tells how it is set."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from zramfs.library.disk import Disk

_SETTING: Final = "zramfs_disk"
_SIZE: Final = "256M"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a test suite say how its disks are mounted."""
    parser.addini(
        _SETTING, "arguments of zramfs.mount() for the fixture zramfs_disk, a `name=value` a line", type="linelist"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Announce the marker by which a test has another disk."""
    config.addinivalue_line("markers", f"{_SETTING}(**arguments): arguments of zramfs.mount() for this test's disk")


@pytest.fixture
def zramfs_disk(request: pytest.FixtureRequest) -> Iterator["Disk"]:
    """Mount a compressed disk for one test; skip the test where FUSE is missing."""
    import zramfs  # noqa: PLC0415 - most tests of a suite that has zramfs installed need no disk
    from zramfs.mountable import require_fuse  # noqa: PLC0415

    try:
        require_fuse()
    except zramfs.MountFailed as error:
        pytest.skip(f"zramfs_disk: {error}")
    with _made(zramfs.mount, _arguments(request)) as disk:
        yield disk


def _made(
    mount: Callable[..., AbstractContextManager["Disk"]], arguments: dict[str, Any]
) -> AbstractContextManager["Disk"]:
    """Return the mount to enter; UsageError for an argument that there is not."""
    try:
        return mount(**arguments)
    except TypeError as error:
        raise pytest.UsageError(f"{_SETTING}: {error}") from None


def _arguments(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the default size, the settings, and the markers: whoever is nearer to the test wins."""
    arguments: dict[str, Any] = {"size": _SIZE}
    for line in request.config.getini(_SETTING):
        name, equals, value = line.partition("=")
        if not equals:
            raise pytest.UsageError(f"{_SETTING}: {line!r} is not name=value")
        arguments[name.strip()] = value.strip()
    for mark in reversed(list(request.node.iter_markers(_SETTING))):
        if mark.args:
            raise pytest.UsageError(f"{_SETTING} takes its arguments by name")
        arguments.update(mark.kwargs)
    return arguments
