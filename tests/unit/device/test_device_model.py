"""The device against a plain bytearray: any history of writes, reads, discards, compactions and writebacks."""

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from reads import read_back

from zramfs.block.request import Request
from zramfs.codec.lz4 import Lz4Codec
from zramfs.contracts import StreamPolicy
from zramfs.device.device import ZramDevice
from zramfs.device.writeback import Selection

pytestmark = pytest.mark.usefixtures("forked_backing")

PAGE = 4096
PAGES = 320
LANES = 8
SIZE = PAGES * PAGE
HUGE_CLASS_BYTES = 3625

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]


@dataclass(frozen=True)
class Span:
    """A part of the device: often aligned, mostly short, sometimes almost all of it."""

    offset: int
    size: int


@dataclass(frozen=True)
class Data:
    """What is written: how it compresses, and which of those."""

    kind: str
    seed: int

    def make(self, size: int) -> bytes:
        chance = random.Random(self.seed)
        if self.kind == "random":
            return chance.randbytes(size)
        if self.kind == "half":
            return b"".join(chance.randbytes(2048) + bytes(2048) for _ in range(size // PAGE + 1))[:size]
        if self.kind == "barely":  # around the huge class: 3560 to 3659 random bytes a page
            kept = [chance.randrange(3560, 3660) for _ in range(size // PAGE + 1)]
            return b"".join(chance.randbytes(length) + bytes(PAGE - length) for length in kept)[:size]
        unit = {"zero": b"\0", "same": chance.randbytes(8), "period": chance.randbytes(chance.randrange(9, 900))}
        return (unit[self.kind] * (size // len(unit[self.kind]) + 1))[:size]


@dataclass(frozen=True)
class Write:
    span: Span
    data: Data
    is_async: bool

    def contents(self) -> bytes:
        return self.data.make(self.span.size)


@dataclass(frozen=True)
class Together:
    """Writes at the same time, each in a lane of its own."""

    writes: tuple[Write, ...]


@dataclass(frozen=True)
class Read:
    span: Span


@dataclass(frozen=True)
class Punch:
    span: Span


@dataclass(frozen=True)
class Find:
    offset: int
    data: bool


@dataclass(frozen=True)
class Compact:
    pass


@dataclass(frozen=True)
class MarkIdle:
    pass


@dataclass(frozen=True)
class WriteBack:
    """Pages of a span that are to leave memory."""

    span: Span
    idle: bool
    huge: bool

    def selection(self) -> Selection:
        first, end = self.span.offset // PAGE, -(-(self.span.offset + self.span.size) // PAGE)
        return Selection(first, end, idle=self.idle, huge=self.huge)


@dataclass(frozen=True)
class SetPolicy:
    policy: StreamPolicy


Step = Write | Together | Read | Punch | Find | Compact | MarkIdle | WriteBack | SetPolicy


@dataclass
class Model:
    """What the device must hold, and which pages were written since they were last discarded.

    `idle` pages were not accessed since they were marked; `backed` ones are in the backing device.
    """

    contents: bytearray = field(default_factory=lambda: bytearray(SIZE))
    stored: set[int] = field(default_factory=set)
    idle: set[int] = field(default_factory=set)
    backed: set[int] = field(default_factory=set)
    notified: int = 0

    def write(self, offset: int, contents: bytes) -> None:
        end = offset + len(contents)
        self.contents[offset:end] = contents
        pages = range(offset // PAGE, -(-end // PAGE))
        self.stored.update(pages)
        self.idle.difference_update(pages)
        self.backed.difference_update(pages)

    def punch(self, span: Span) -> None:
        """Zero the whole span; its partial pages stay stored, or come to be."""
        end = span.offset + span.size
        self.write(span.offset, bytes(span.size))
        for pages in (self.stored, self.idle, self.backed):
            pages.difference_update(range(-(-span.offset // PAGE), end // PAGE))
        self.notified += max(0, end // PAGE - -(-span.offset // PAGE))

    def read(self, span: Span) -> bytes:
        end = span.offset + span.size
        self.idle.difference_update(range(span.offset // PAGE, -(-end // PAGE)))
        return bytes(self.contents[span.offset : end])

    def mark_idle(self) -> None:
        self.idle = {page for page, length in self.page_lengths().items() if length}

    def write_back(self, selection: Selection) -> None:
        for page, length in self.page_lengths().items():
            if (
                selection.first_page <= page < selection.end_page
                and length
                and ((not selection.idle or page in self.idle) and (not selection.huge or length == PAGE))
            ):
                self.backed.add(page)
                self.idle.discard(page)

    def find(self, offset: int, *, data: bool) -> int | None:
        for page in range(offset // PAGE, PAGES):
            if (page in self.stored) == data:
                return max(offset, page * PAGE)
        return None if data else SIZE

    def page_lengths(self) -> dict[int, int]:
        """Stored bytes of each page in memory: 0 when same-filled, 4096 when huge."""
        codec, lengths = Lz4Codec(), {}
        for page in self.stored - self.backed:
            contents = bytes(self.contents[page * PAGE : (page + 1) * PAGE])
            length = 0 if contents == contents[:8] * 512 else len(codec.compress(contents))
            lengths[page] = PAGE if length >= HUGE_CLASS_BYTES else length
        return lengths


def spans(begin: int = 0, end: int = SIZE) -> st.SearchStrategy[Span]:
    pages = (end - begin) // PAGE
    aligned = st.builds(
        lambda page, count: Span(begin + page * PAGE, min(count, pages - page) * PAGE),
        st.integers(0, pages - 1),
        st.integers(1, 40) | st.just(300),
    )
    anywhere = st.builds(
        lambda offset, size: Span(begin + offset, min(size, end - begin - offset)),
        st.integers(0, end - begin - 1),
        st.integers(1, 3 * PAGE) | st.integers(1, 300 * PAGE),
    )
    return aligned | anywhere


data = st.builds(Data, st.sampled_from(["zero", "same", "period", "half", "barely", "random"]), st.integers(0, 1 << 16))


def writes(begin: int = 0, end: int = SIZE) -> st.SearchStrategy[Write]:
    return st.builds(Write, spans(begin, end), data, st.booleans())


lane_bytes = SIZE // LANES
together = st.tuples(*(writes(lane * lane_bytes, (lane + 1) * lane_bytes) for lane in range(LANES)))
steps = st.one_of(
    writes(),
    writes(),
    st.builds(Together, together),
    st.builds(Read, spans()),
    st.builds(Punch, spans()),
    st.builds(Find, st.integers(0, SIZE - 1), st.booleans()),
    st.builds(Compact),
    st.builds(MarkIdle),
    st.builds(WriteBack, spans(), st.booleans(), st.booleans()),
    st.builds(SetPolicy, st.sampled_from(StreamPolicy)),
)


def submit(device: ZramDevice, channel: int, writes: Sequence[Write]) -> None:
    """Write them one after the other, on a thread that has the channel."""
    for write in writes:
        request = Request("write", write.span.offset, write.contents(), is_async=write.is_async, channel=channel)
        request.submit(device.disk)
        request.wait()
        assert request.result() == write.span.size


async def write_together(device: ZramDevice, writes: Sequence[Write], threads: int) -> None:
    """Write them at the same time: each in a task of its own, or so many threads share them."""
    async with trio.open_nursery() as nursery:
        for channel in range(1, threads + 1):
            nursery.start_soon(trio.to_thread.run_sync, submit, device, channel, writes[channel - 1 :: threads])
        for write in writes if not threads else ():
            nursery.start_soon(partial(device.write, write.span.offset, write.contents(), is_async=write.is_async))


async def do(device: ZramDevice, model: Model, step: Step, threads: int) -> None:
    match step:
        case Write():
            model.write(step.span.offset, step.contents())
            await write_together(device, [step], threads)
        case Together():
            for write in step.writes:
                model.write(write.span.offset, write.contents())
            await write_together(device, step.writes, threads)
        case Read(span):
            assert await read_back(device, span.offset, span.size) == model.read(span)
        case Punch(span):
            model.punch(span)
            await device.punch(span.offset, span.size)
        case Find(offset, wants_data):
            assert device.find(offset, data=wants_data) == model.find(offset, data=wants_data)
        case _:
            await look_after(device, model, step)


async def look_after(device: ZramDevice, model: Model, step: Step) -> None:
    """What changes no contents."""
    match step:
        case Compact():
            used = device.statistics.mm_stat().mem_used_total
            await device.upkeep.compact()
            assert device.statistics.mm_stat().mem_used_total <= used
        case MarkIdle():
            model.mark_idle()
            await device.upkeep.mark_idle()
        case WriteBack():
            model.write_back(step.selection())
            await device.upkeep.write_back([step.selection()])
        case SetPolicy(policy):
            device.settings.set_policy(policy)


def idle_pages(device: ZramDevice) -> set[int]:
    lines = (line.split() for line in "".join(device.upkeep.block_state()).splitlines())
    return {int(page) for page, _, flags in lines if "i" in flags}


async def check(device: ZramDevice, model: Model) -> None:
    lengths = model.page_lengths()
    statistics = device.statistics.mm_stat()
    assert idle_pages(device) == model.idle
    assert device.writeback.statistics().bd_count == len(model.backed)
    assert await read_back(device, 0, SIZE) == model.contents
    assert statistics.orig_data_size == len(model.stored) * PAGE
    assert statistics.compr_data_size == sum(lengths.values())
    assert statistics.same_pages == sum(length == 0 for length in lengths.values())
    assert statistics.huge_pages == sum(length == PAGE for length in lengths.values())
    assert statistics.mem_used_total >= statistics.compr_data_size
    assert statistics.mem_used_max >= statistics.mem_used_total
    assert device.statistics.io_stat().notify_free == model.notified
    assert device.statistics.streams().inflight == 0


@pytest.fixture(scope="session")
def backing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a backing file that has room for every page."""
    path = tmp_path_factory.mktemp("backing") / "file"
    path.write_bytes(bytes(SIZE))
    return path


def live_through(history: Sequence[Step], threads: int, opened: AbstractAsyncContextManager[ZramDevice]) -> None:
    async def live() -> None:
        model = Model()
        async with opened as device:
            for step in history:
                await do(device, model, step, threads)
            await check(device, model)
            await device.punch(0, SIZE)
            assert device.statistics.mm_stat().mem_used_total == 0
            assert device.writeback.statistics().bd_count == 0

    trio.run(live)


@pytest.mark.parametrize(
    "accelerator", ["none", "ideal", "poc", "poc,queue_depth=3", "ideal,queue_depth=16,polled_run_pages=0"]
)
@settings(max_examples=100)
@given(history=st.lists(steps, max_size=25))
def test_device_is_as_good_as_a_bytearray(
    open_device: OpenDevice, backing: Path, accelerator: str, history: list[Step]
) -> None:
    opened = open_device(PAGES, accelerator=accelerator, backing=backing, compressed_writeback=accelerator == "ideal")
    live_through(history, 0, opened)


@pytest.mark.parametrize("accelerator", ["none", "ideal", "poc,queue_depth=3,when_full=wait"])
@pytest.mark.parametrize("threads", [2, 4])
@settings(max_examples=25)
@given(history=st.lists(steps, max_size=25))
def test_device_under_threads_is_as_good_as_a_bytearray(
    open_device: OpenDevice, backing: Path, threads: int, accelerator: str, history: list[Step]
) -> None:
    opened = open_device(
        PAGES,
        accelerator=accelerator,
        backing=backing,
        receivers=threads,
        crew=1,
        compressed_writeback=threads == 4,
    )
    live_through(history, threads, opened)
