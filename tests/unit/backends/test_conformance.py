"""What every backend, and each kind of stream that it offers, must do."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from streams import opened_trial, written

from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import load_profile
from zramfs.backends.registry import backend_names, load_backend
from zramfs.codec.run import PageCodec
from zramfs.contracts import AlgorithmParams, Backend, StreamPolicy
from zramfs.errors import AcceleratorUnavailable
from zramfs.streams import StreamManager
from zramfs.zcomp.trial import Trial

PAGE = 4096

pytestmark = pytest.mark.parametrize("backend", [load_backend(name) for name in backend_names()], ids=backend_names())


async def manages_streams(backend: Backend) -> bool:
    params = backend.setup_params(AlgorithmParams(), accelerator=EmulatedAccelerator(load_profile("ideal")))
    backend.release_params(params)
    return params.zstrm_mgmt


@pytest.fixture(params=["percpu", "managed"])
def kind(request: pytest.FixtureRequest, backend: Backend) -> str:
    """Which kind of stream a disk's writes use."""
    if request.param == "managed" and not trio.run(manages_streams, backend):
        pytest.skip(f"{backend.name} manages no streams")
    return str(request.param)


@asynccontextmanager
async def opened(backend: Backend, kind: str, profile: str = "ideal") -> AsyncIterator[Trial]:
    """Open a disk whose writes use one kind of stream; a package must have kept its promises, as they are mended."""
    policy = StreamPolicy.MANAGED if kind == "managed" else StreamPolicy.PERCPU
    async with opened_trial(profile, policy, backend) as disk:
        yield disk
        statistics = disk.zcomp.accelerator_statistics()
        assert disk.failed_pages == 0
        assert disk.zcomp.manager_error == ""
        assert [statistics.get(name, 0) for name in ("broken_promises", "software_redone", "inflight")] == [0, 0, 0]


async def store(disk: Trial, kind: str, source: bytes, offset_bytes: int = 0) -> None:
    """Write a source to the beginning, and look which streams took it."""
    percpu, managed, _ = (await written(disk.write(0, source, offset_bytes, is_async=True))).kinds
    assert (percpu, managed > 0) == ((0, True) if kind == "managed" else (len(source) // PAGE, False))


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


async def test_stream_stores_pages_of_every_fate(
    backend: Backend, kind: str, compressible_pages: Callable[..., bytes]
) -> None:
    source = every_fate(compressible_pages) * 9
    async with opened(backend, kind) as disk:
        await store(disk, kind, source)
        assert disk.read(0, 72) == source
        lengths = disk.lengths(0, 72)
        assert lengths.count(0) == 18
        assert sum(length >= PAGE for length in lengths) == 9


async def test_stream_compresses_as_its_context_does(
    backend: Backend, kind: str, compressible_pages: Callable[..., bytes]
) -> None:
    source = compressible_pages(40)
    async with opened(backend, kind) as disk:
        codec = disk.zcomp.codec
        expected = [len(codec.compress(source[at : at + PAGE])) for at in range(0, len(source), PAGE)]
        await store(disk, kind, source)
        assert disk.lengths(0, 40) == expected


async def test_stream_takes_a_run_at_any_byte_of_its_source(
    backend: Backend, kind: str, compressible_pages: Callable[..., bytes]
) -> None:
    text = compressible_pages(4)
    async with opened(backend, kind) as disk:
        for offset_bytes in range(1, 17):
            await store(disk, kind, bytes(offset_bytes) + text + b"tail", offset_bytes)
            assert disk.read(0, 4) == text


async def test_stream_takes_one_page(backend: Backend, kind: str) -> None:
    async with opened(backend, kind) as disk:
        await store(disk, kind, b"x" * 4095 + b"y")
        assert disk.read(0, 1) == b"x" * 4095 + b"y"


async def test_stream_can_be_used_again(backend: Backend, kind: str, compressible_pages: Callable[..., bytes]) -> None:
    async with opened(backend, kind, "poc") as disk:
        for seed in range(300):
            source = compressible_pages(1, seed) * 3
            await store(disk, kind, source)
            assert disk.read(0, 3) == source
