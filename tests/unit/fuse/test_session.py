"""What can be asked of a session without a mount."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pyfuse3
import pytest

from zramfs.fuse import companion, session

if TYPE_CHECKING:
    from zramfs.fuse.filesystem import ZramFilesystem


async def test_session_that_fails_answers_what_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[bool] = []

    async def settle() -> None:
        settled.append(True)

    async def fail(**_: int) -> None:
        raise OSError("receive")

    monkeypatch.setattr(pyfuse3, "main", fail)
    monkeypatch.setattr(companion, "hooks", None)
    with pytest.RaisesGroup(OSError):
        await session._answer_requests(cast("ZramFilesystem", SimpleNamespace(settle=settle)))
    assert settled == [True]
