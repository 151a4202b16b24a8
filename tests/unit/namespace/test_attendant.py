"""A keeper whose daemon never lets a file be opened."""

import os
import time
from collections.abc import Iterator

import pytest

from zramfs.errors import CommandFailed
from zramfs.namespace import attendant
from zramfs.namespace.attendant import Attendant
from zramfs.namespace.protocol import Answer, ProtocolBroken, Request


def answer(request: Request) -> Answer:
    """Refuse zram9, hang at zram8."""
    if request.name == "zram9":
        return Answer(16, "zram9 is in use")
    if request.name == "zram8":
        time.sleep(60)
    return Answer(text=f"7:{request.name.removeprefix('zram')}" if request.verb == "attach" else "")


@pytest.fixture
def served() -> Iterator[Attendant]:
    served = Attendant(answer, set())
    yield served
    served.close()


def test_answers_are_passed_on_and_bound_devices_noted(served: Attendant) -> None:
    assert served.answer(Request("attach", "zram0")) == Answer(text="7:0")
    assert served.answer(Request("attach", "zram9")) == Answer(16, "zram9 is in use")
    assert served.answer(Request("attach", "zram3")) == Answer(text="7:3")
    assert served.bound == {0, 3}
    assert served.answer(Request("detach", "zram0")) == Answer()
    assert served.bound == {3}


def test_request_that_hangs_ends_the_link(served: Attendant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendant, "_WORK_S", 0.1)
    with pytest.raises(ProtocolBroken):
        served.answer(Request("attach", "zram8"))


def test_end_of_the_command_is_served_while_a_request_hangs(served: Attendant) -> None:
    readable, writable = os.pipe()
    os.close(writable)
    served.attended.add(readable)
    begun = time.monotonic()
    with pytest.raises(CommandFailed, match="interrupted"):
        served.answer(Request("attach", "zram8"))
    os.close(readable)
    assert time.monotonic() - begun < 5
