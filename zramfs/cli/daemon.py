"""The daemon: wires devices, control files and the file system together, and takes them down again."""

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from zramfs import __version__
from zramfs.abi import ZramAbi
from zramfs.accel.driver import EmulatedAccelerator
from zramfs.accel.profile import Profile
from zramfs.block.layer import BlockLayer
from zramfs.cli.metrics_process import serve_metrics
from zramfs.cli.parent import Parent
from zramfs.cli.signals import DaemonSignals
from zramfs.contracts import Backend, StreamPolicy
from zramfs.control.tree import control_tree, device_tree
from zramfs.device.device import ZramDevice
from zramfs.device.device_set import DeviceSet
from zramfs.device.lineage import OwnMount
from zramfs.device.serving import BioServer
from zramfs.device.settings import DeviceConfig
from zramfs.device.trace import RequestTrace
from zramfs.errors import ZramError
from zramfs.fuse import session
from zramfs.fuse.filesystem import ZramFilesystem
from zramfs.namespace.link import KeeperLink
from zramfs.process import SwapGuard
from zramfs.receive.choice import receiver_count
from zramfs.receive.receivers import Receivers
from zramfs.request_memory import RequestMemory
from zramfs.units import PAGE_SIZE, round_up_to_page

_log: Final = logging.getLogger(__name__)

_LEAST_BACKGROUND: Final = 64
"""Background requests at a time, for a shallow queue or none."""

_WAITING_BACKGROUND: Final = 4096
"""Background requests at a time where writes wait for the accelerator: buffered and asynchronous reads are background
requests as well, and wait in the kernel when others have taken all places. Elsewhere a longer queue in the daemon would
only be one that synchronous requests stand in."""

_REQUEST_LIMIT_BYTES: Final = 320 << 20
"""What may be held of writes that wait: a default queue of 256 requests of 1 MiB, and a quarter more."""


@dataclass(frozen=True, slots=True)
class ServedMetrics:
    """Where metrics are served, and the socket that listens there."""

    address: str
    listener: socket.socket


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRequest:
    """What `zramfs mount` was asked for, checked. `disksize` None leaves the devices uninitialised."""

    mountpoint: Path
    disksize: int | None
    backend: Backend
    abi: ZramAbi
    mem_limit_bytes: int
    device_count: int
    profile: Profile | None
    policy: StreamPolicy
    transport: str
    busy_poll_us: int
    allow_other: bool
    read_only: bool
    trace_path: Path | None
    metrics: ServedMetrics | None = None

    @property
    def kept_fds(self) -> list[int]:
        """Descriptors that were opened for the daemon."""
        return [self.metrics.listener.fileno()] if self.metrics else []


async def run(
    request: MountRequest, signals: DaemonSignals, on_ready: Callable[[], None], parent: Parent | None = None
) -> None:
    """Serve the mount until it is unmounted, or `parent` ends. MountFailed, or another ZramError, if it cannot be."""
    async with trio.open_nursery() as attending:
        attending.start_soon(signals.attend)
        if parent is not None:
            attending.start_soon(parent.await_end, signals.ask_to_end)
        failure = await _run_devices(request, signals, on_ready)
        attending.cancel_scope.cancel()
    if failure is not None:
        raise failure  # here: a nursery would wrap it in a group
    _log.info("%s is unmounted", request.mountpoint)


async def _run_devices(request: MountRequest, signals: DaemonSignals, on_ready: Callable[[], None]) -> ZramError | None:
    """Serve the mount with its devices until it is unmounted; the error, if it cannot be made."""
    failure: ZramError | None = None
    trace = RequestTrace(request.trace_path) if request.trace_path else None
    layer = BlockLayer(receivers=receiver_count(request.transport), crew=len(os.sched_getaffinity(0)) - 1)
    server = BioServer(layer)
    async with trio.open_nursery() as nursery:
        own_mount = OwnMount()
        devices = DeviceSet(partial(_make_device, request, server, nursery, trace, own_mount))
        for _ in range(request.device_count):
            devices.add()
        link = KeeperLink(devices, nursery, own_mount)
        try:
            async with trio.open_nursery() as serving:
                serving.start_soon(server.serve)
                if trace is not None:
                    serving.start_soon(trace.serve)
                ready = partial(_begin, request, serving, on_ready)
                failure = await _serve_or_fail(request, layer, devices, own_mount, link, signals, ready)
                serving.cancel_scope.cancel()
        finally:
            link.close()
            devices.close()
            layer.close()
            if trace is not None:
                trace.close()
    return failure


def _begin(request: MountRequest, serving: trio.Nursery, on_ready: Callable[[], None]) -> None:
    """The mount answers: say so, and let what reads it begin."""
    on_ready()
    if request.metrics is not None:
        serving.start_soon(serve_metrics, request.metrics.listener, request.mountpoint)


async def _serve_or_fail(
    request: MountRequest,
    layer: BlockLayer,
    devices: DeviceSet,
    own_mount: OwnMount,
    link: KeeperLink,
    signals: DaemonSignals,
    on_ready: Callable[[], None],
) -> ZramError | None:
    try:
        await _serve(request, layer, devices, own_mount, link, signals, on_ready)
    except ZramError as error:
        return error
    return None


async def _serve(
    request: MountRequest,
    layer: BlockLayer,
    devices: DeviceSet,
    own_mount: OwnMount,
    link: KeeperLink,
    signals: DaemonSignals,
    on_ready: Callable[[], None],
) -> None:
    if request.disksize is not None:
        for device in devices:
            device.initialise(request.disksize)
    request_memory = RequestMemory(_REQUEST_LIMIT_BYTES)
    receivers = Receivers(
        request.transport,
        layer=layer,
        memory=request_memory,
        busy_poll_us=request.busy_poll_us,
        background=_background(request.profile),
    )
    swap_guard = SwapGuard(receivers.set_io_flushers)
    filesystem = ZramFilesystem(
        devices,
        control_tree=control_tree(
            devices,
            swap_guard,
            link,
            request_memory,
            receivers,
            metrics_address=request.metrics.address if request.metrics else "none",
        ),
        device_tree=partial(device_tree, devices=devices),
        handles=receivers.handles,
        on_ready=on_ready,
        own_mount=own_mount,
    )
    _log.info("zramfs %s mounts %s: %s", __version__, request.mountpoint, devices)
    options = session.SessionOptions(allow_other=request.allow_other)
    await session.serve(filesystem, receivers, request.mountpoint, options, signals.endings)


def _background(profile: Profile | None) -> int:
    """Return how many asynchronous requests to take from the kernel at a time."""
    if profile is None:
        return _LEAST_BACKGROUND
    return max(_LEAST_BACKGROUND, profile.queue_depth, _WAITING_BACKGROUND if profile.waits_when_full else 0)


def _make_device(
    request: MountRequest,
    server: BioServer,
    nursery: trio.Nursery,
    trace: RequestTrace | None,
    own_mount: OwnMount,
    name: str,
) -> ZramDevice:
    config = DeviceConfig(
        backend=request.backend,
        accelerator=EmulatedAccelerator(request.profile) if request.profile else None,
        mem_limit_pages=round_up_to_page(request.mem_limit_bytes) // PAGE_SIZE,
        policy=request.policy,
        abi=request.abi,
        is_read_only=request.read_only,
    )
    return ZramDevice(name, server=server, nursery=nursery, config=config, trace=trace, own_mount=own_mount)
