"""What can be asked of a session without a mount."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyfuse3
import pytest

from zramfs.fuse import session
from zramfs.mountpoint import Mount

if TYPE_CHECKING:
    from zramfs.fuse.filesystem import ZramFilesystem
    from zramfs.receive.handover import Handover
    from zramfs.receive.receivers import Receivers


NOWHERE = Mount(Path("/nowhere"), "fuse.zramfs", "0:99")


class Story:
    """Stands for receivers with requests in flight; notes who is called."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.in_flight = 0

    def start(self, _handover: object, dev_fd: int) -> None:
        self.happened.append(f"receive from {dev_fd}")
        self.in_flight = 2

    def stop(self) -> None:
        self.happened.append("stop")

    def close(self) -> None:
        self.happened.append("close")

    def work_off(self) -> bool:
        self.happened.append("work")
        self.in_flight -= 1
        return self.in_flight > 0


async def fail(**_: int) -> None:
    raise OSError("receive")


async def test_session_that_fails_answers_what_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    monkeypatch.setattr(pyfuse3, "main", fail)
    monkeypatch.setattr(session, "take_away", lambda _mount: story.happened.append("take away"))
    with pytest.raises(OSError, match="receive"):
        await session._answer_requests(
            cast("ZramFilesystem", None), cast("Receivers", story), cast("Handover", object()), 77, NOWHERE
        )
    assert story.happened == ["receive from 77", "stop", "work", "work", "take away", "close"]
