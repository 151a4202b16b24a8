"""What becomes of a mount whose rings cannot be set up."""

import os
from pathlib import Path

import pytest
from fuse_kernel import INIT, Kernel

from zramfs.block.layer import BlockLayer
from zramfs.receive import uring_transport
from zramfs.receive.handles import Handles
from zramfs.receive.handover import Handover
from zramfs.receive.transport import Reception
from zramfs.receive.uring import UringReceiver
from zramfs.receive.uring_transport import UringTransport, queue_count
from zramfs.request_memory import RequestMemory


class BrokenReceiver(UringReceiver):
    """A receiver that the system gives no ring."""

    failure = 1  # type: ignore[assignment]

    def run(self) -> None:
        self.is_set_up.set()


@pytest.mark.parametrize(("possible", "count"), [("0\n", 1), ("0-1\n", 2), ("0-3,8-9\n", 6)])
def test_queues_are_as_many_as_cpus_that_there_could_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, possible: str, count: int
) -> None:
    monkeypatch.setattr(uring_transport, "_POSSIBLE", tmp_path / "possible")
    (tmp_path / "possible").write_text(possible)
    assert queue_count() == count


def test_without_rings_the_kernel_is_not_asked_for_them(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uring_transport, "UringReceiver", BrokenReceiver)
    kernel = Kernel()
    layer = BlockLayer(receivers=1 + queue_count(), crew=0)
    handles = Handles()
    handover = Handover(handles, background=64, direct_writes_are_parallel=True, session_ended=lambda: None)
    handover.dev_fd = kernel.fd
    memory = RequestMemory(1 << 20)
    reception = Reception(layer=layer, memory=memory, handles=handles, handover=handover, busy_poll_us=50)
    transport = UringTransport(reception, kernel.fd)
    transport.start()
    kernel.send(INIT, bytes(64))
    while handover.count == 0:
        os.sched_yield()
    transport.stop()
    assert handover.init_flags == 0
    assert "Operation not permitted" in caplog.text
    assert transport.in_flight == 0
    layer.close()
    kernel.close()
