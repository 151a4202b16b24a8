"""What every backend, and each kind of stream that it offers, must do."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from reads import read_slots
from streams import completed
from trio.testing import wait_all_tasks_blocked

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import load_profile
from zramfs.backends.registry import backend_names, load_backend
from zramfs.codec.run import PageCodec
from zramfs.contracts import AlgorithmParams, Backend, BackendParams
from zramfs.device.slots import SlotTable
from zramfs.errors import AcceleratorUnavailable
from zramfs.streams import Stream, StreamManager
from zramfs.zcomp.zcomp import PercpuStream

PAGE = 4096

pytestmark = pytest.mark.parametrize("backend", [load_backend(name) for name in backend_names()], ids=backend_names())


class PercpuKind:
    """Per-CPU streams of a backend, obtained as zcomp does."""

    def __init__(self, backend: Backend, params: BackendParams) -> None:
        self._stream = PercpuStream(backend.create_context(params))

    def get_stream(self) -> Stream:
        return self._stream

    def put_stream(self, stream: Stream) -> None:
        stream.run.release()


class ManagedKind:
    """Streams that the backend manages."""

    def __init__(self, backend: Backend, params: BackendParams) -> None:
        del backend
        assert params.manager is not None
        self._manager = params.manager

    def get_stream(self) -> Stream:
        stream = self._manager.get_stream()
        assert stream is not None
        return stream

    def put_stream(self, stream: Stream) -> None:
        self._manager.put_stream(stream)


Kind = PercpuKind | ManagedKind
both_kinds = pytest.mark.parametrize("kind", [PercpuKind, ManagedKind])


@asynccontextmanager
async def streams(
    backend: Backend, kind: type[PercpuKind] | type[ManagedKind], profile: str = "ideal"
) -> AsyncIterator[tuple[Kind, PageCodec]]:
    """Give one kind of stream, and a context that decompresses."""
    params = backend.setup_params(AlgorithmParams(), accelerator=EmulatedAccelerator(load_profile(profile)))
    try:
        if kind is ManagedKind and not params.zstrm_mgmt:
            pytest.skip(f"{backend.name} manages no streams")
        async with trio.open_nursery() as nursery:
            if params.manager is not None:
                nursery.start_soon(params.manager.serve_completions)
                await wait_all_tasks_blocked()  # a manager may give streams only when it is served
            yield kind(backend, params), backend.create_context(params)
            nursery.cancel_scope.cancel()
    finally:
        backend.release_params(params)


async def store(kind: Kind, slots: SlotTable, source: bytes) -> list[int]:
    """Write a whole source run by run, as the device does; the compressed lengths."""
    page, lengths = 0, []
    while page < len(source) // PAGE:
        stream = kind.get_stream()
        taken = stream.submit(source, page * PAGE, len(source) // PAGE - page)
        assert taken >= 1
        await completed(stream)
        assert stream.is_complete
        assert len(stream.run) == taken
        lengths += stream.run.lengths()
        slots.store(page, stream.run)
        kind.put_stream(stream)
        page += taken
    return lengths


def every_fate(compressible_pages: Callable[..., bytes]) -> bytes:
    mixed = compressible_pages(3) + os.urandom(PAGE) + bytes(PAGE) + b"ABCDEFGH" * 512
    return mixed + os.urandom(2000) + bytes(PAGE - 2000) + os.urandom(3700) + bytes(PAGE - 3700)


def test_backend_has_the_name_that_it_is_announced_by(backend: Backend) -> None:
    assert load_backend(backend.name) is backend


@given(seed=st.binary(min_size=1, max_size=4096))
def test_context_gives_back_what_it_compressed(backend: Backend, seed: bytes) -> None:
    context = backend.create_context(backend.setup_params(AlgorithmParams(), accelerator=None))
    page = (seed * PAGE)[:PAGE]
    compressed = context.compress(page)
    assert len(compressed) <= PAGE
    assert (compressed if len(compressed) == PAGE else context.decompress(compressed)) == page


@given(junk=st.binary(max_size=5000))
def test_context_takes_junk_for_an_error_or_a_page(backend: Backend, junk: bytes) -> None:
    context = backend.create_context(backend.setup_params(AlgorithmParams(), accelerator=None))
    try:
        assert len(context.decompress(junk)) == PAGE
    except ValueError as error:
        assert "decompress" in str(error)


def test_contexts_are_not_shared(backend: Backend) -> None:
    params = backend.setup_params(AlgorithmParams(), accelerator=None)
    assert backend.create_context(params) is not backend.create_context(params)


def test_backend_without_an_accelerator_manages_no_streams(backend: Backend) -> None:
    params = backend.setup_params(AlgorithmParams(), accelerator=None)
    assert not params.zstrm_mgmt
    assert params.manager_error == ""
    assert params.manager is None
    backend.release_params(params)


def test_backend_lives_on_when_the_accelerator_is_unavailable(backend: Backend) -> None:
    attached = []

    class Broken:
        def settings(self) -> dict[str, int | str]:
            return {"profile": "broken"}

        def attach(self, create_context: Callable[[], PageCodec]) -> StreamManager:
            attached.append(create_context)
            raise AcceleratorUnavailable("out of order")

    params = backend.setup_params(AlgorithmParams(), accelerator=Broken())
    if attached:
        assert not params.zstrm_mgmt
        assert params.manager_error == "out of order"
    else:
        assert params.manager_error == ""
    page = (b"still works " * 400)[:PAGE]
    context = backend.create_context(params)
    assert context.decompress(context.compress(page)) == page
    backend.release_params(params)


@both_kinds
async def test_stream_stores_pages_of_every_fate(
    backend: Backend, kind: type[PercpuKind] | type[ManagedKind], compressible_pages: Callable[..., bytes]
) -> None:
    source = every_fate(compressible_pages) * 9
    slots = SlotTable(len(source) // PAGE)
    async with streams(backend, kind) as (own, codec):
        await store(own, slots, source)
        assert read_slots(slots, 0, len(source), codec) == source
    assert slots.same_pages == 18
    assert slots.huge_pages == 18


@both_kinds
async def test_stream_compresses_as_its_context_does(
    backend: Backend, kind: type[PercpuKind] | type[ManagedKind], compressible_pages: Callable[..., bytes]
) -> None:
    source = compressible_pages(40)
    slots = SlotTable(40)
    async with streams(backend, kind) as (own, codec):
        expected = [len(codec.compress(source[at : at + PAGE])) for at in range(0, len(source), PAGE)]
        assert await store(own, slots, source) == expected


@both_kinds
async def test_stream_takes_a_run_at_any_byte_of_its_source(
    backend: Backend, kind: type[PercpuKind] | type[ManagedKind], compressible_pages: Callable[..., bytes]
) -> None:
    text = compressible_pages(4)
    slots = SlotTable(4)
    async with streams(backend, kind) as (own, codec):
        stream = own.get_stream()
        taken = stream.submit(b"head" + text + b"tail", 4, 4)
        assert 1 <= taken <= 4
        await completed(stream)
        slots.store(0, stream.run)
        own.put_stream(stream)
        assert read_slots(slots, 0, taken * PAGE, codec) == text[: taken * PAGE]


@both_kinds
async def test_stream_takes_one_page(backend: Backend, kind: type[PercpuKind] | type[ManagedKind]) -> None:
    slots = SlotTable(1)
    async with streams(backend, kind) as (own, codec):
        await store(own, slots, b"x" * 4095 + b"y")
        assert read_slots(slots, 0, PAGE, codec) == b"x" * 4095 + b"y"


@both_kinds
async def test_stream_can_be_used_again(
    backend: Backend, kind: type[PercpuKind] | type[ManagedKind], compressible_pages: Callable[..., bytes]
) -> None:
    slots = SlotTable(3)
    async with streams(backend, kind, "poc") as (own, codec):
        for seed in range(300):
            source = compressible_pages(1, seed) * 3
            await store(own, slots, source)
            assert read_slots(slots, 0, 3 * PAGE, codec) == source


@both_kinds
async def test_stream_that_was_put_holds_no_pages(backend: Backend, kind: type[PercpuKind] | type[ManagedKind]) -> None:
    async with streams(backend, kind) as (own, _):
        stream = own.get_stream()
        stream.submit(bytes(3 * PAGE), 0, 3)
        await completed(stream)
        own.put_stream(stream)
        assert len(stream.run) == 0
