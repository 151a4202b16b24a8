"""`zramfs mount`: check everything while there is a terminal to complain to, then leave a daemon."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import trio

from zramfs.abi import ABIS, NEWEST
from zramfs.accel.profile import Profile
from zramfs.cli import daemon
from zramfs.cli.daemon_log import DaemonLog
from zramfs.cli.daemonize import start_daemon
from zramfs.cli.listening import MetricsAddress, open_listener
from zramfs.cli.log import open_log
from zramfs.cli.notify import notify
from zramfs.cli.parameters import FilePath, Parsed, mountpoint_argument, parse_name
from zramfs.cli.parent import Parent
from zramfs.cli.pid_file import PidFile
from zramfs.cli.signals import DaemonSignals
from zramfs.cli.values import ACCELERATOR, ALGORITHM, METRICS_ADDRESS, SIZE
from zramfs.contracts import Backend, StreamPolicy
from zramfs.errors import MountFailed
from zramfs.fuse import companion
from zramfs.mountable import prepare_mountpoint
from zramfs.outputs import open_output
from zramfs.process import allow_open_files
from zramfs.receive.choice import URING, choose_transport
from zramfs.units import format_bytes

_OPEN_FILES: Final = 64
_OPEN_FILES_OF_A_DEVICE: Final = 4
"""The daemon has 19 open on two CPUs, and three more for each device; whoever opens attributes needs some."""

_OPTIONS: Final = (
    click.option("--size", type=SIZE, help="Size of each device, such as 1G; without it they start uninitialised."),
    click.option("--algorithm", type=ALGORITHM, default="lz4", show_default=True, help="Compression algorithm."),
    click.option(
        "--zram-abi",
        type=click.Choice(list(ABIS)),
        default=NEWEST.name,
        show_default=True,
        help="Behave as the zram of this version of Linux, where they differ (docs/zram-abi.md).",
    ),
    click.option("--mem-limit", type=SIZE, help="Most memory that each device may use, such as 512M."),
    click.option("--devices", type=click.IntRange(1, 64), default=1, show_default=True, help="How many devices."),
    click.option(
        "--accel",
        "accelerator",
        metavar="NAME[,key=value…]|none",
        type=ACCELERATOR,
        default="ideal",
        show_default=True,
        help="Accelerator behind the managed streams: a profile with changes, or none.",
    ),
    click.option(
        "--stream-policy",
        type=click.Choice([policy.value for policy in StreamPolicy]),
        default="auto",
        show_default=True,
        help="Streams for writes: managed for asynchronous ones (auto), or one kind for all.",
    ),
    click.option(
        "--transport",
        type=click.Choice(["auto", "dev", "uring"]),
        default="auto",
        show_default=True,
        help="How requests arrive: by io_uring, a queue for each CPU; by /dev/fuse; or by io_uring where it is (auto).",
    ),
    click.option(
        "--busy-poll",
        "busy_poll_us",
        metavar="USEC",
        type=click.IntRange(0, 10_000),
        default=50,
        show_default=True,
        help="How long to poll /dev/fuse for the next request before sleeping; 0 to sleep at once.",
    ),
    click.option(
        "--allow-other", is_flag=True, help="Let other users read the statistics; the block files stay their owner's."
    ),
    click.option(
        "--read-only", is_flag=True, help="Refuse writes: block files are 0444, and opening for writing fails."
    ),
    click.option(
        "--log",
        "--log-file",
        "log_to",
        metavar="syslog|journal|FILE",
        type=Parsed("text", parse_name),
        help="Where the daemon logs; SIGHUP opens a file anew.",
    ),
    click.option(
        "--trace",
        "trace_file",
        type=FilePath(dir_okay=False),
        help="Write a line of JSON for each request to this file.",
    ),
    click.option(
        "--metrics",
        "metrics_address",
        metavar="ADDRESS:PORT|unix:PATH",
        type=METRICS_ADDRESS,
        help="Serve metrics for Prometheus there; a port alone is one of the loopback.",
    ),
)


def mount_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that say what is mounted; `make_request` and `open_log` take them."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


@click.command(short_help="Mount compressed RAM disks at a directory.")
@mountpoint_argument
@mount_options
@click.option("--foreground", is_flag=True, help="Stay, and log to the terminal, until unmounted or interrupted.")
@click.option("--exit-with-parent", is_flag=True, help="Unmount when the process ends that called this.")
@click.option("--pid-file", type=FilePath(dir_okay=False), help="A file for the daemon's process id.")
def mount(
    mountpoint: Path,
    log_to: str | None,
    pid_file: Path | None,
    *,
    foreground: bool,
    exit_with_parent: bool,
    **options: Any,
) -> None:
    """Mount compressed RAM disks at the directory MOUNTPOINT.

    Returns as soon as MOUNTPOINT/zram0 answers I/O, and leaves a daemon. What is stored is gone once it is unmounted.
    """
    parent = Parent.of_this_process() if exit_with_parent else None
    prepare_mountpoint(mountpoint)
    noted = PidFile(pid_file) if pid_file else None
    if noted:
        noted.require_free()
    request = make_request(Path(os.path.realpath(mountpoint)), **options)
    log = open_log(log_to, request.mountpoint, is_foreground=foreground)
    signals = DaemonSignals(log, is_foreground=foreground)
    serve = partial(serve_mount, request, log, signals, parent=parent, pid_file=noted)
    if foreground:
        signals.catch()
        serve(partial(notify, "READY=1", _status_of(request)))
        return
    serving = start_daemon(serve, log, signals, kept_fds=[*request.kept_fds, *([parent.fd] if parent else [])])
    serving.await_ready()
    notify(f"MAINPID={serving.pid}", "READY=1", _status_of(request))  # by us: the manager knows only us as yet


def _status_of(request: daemon.MountRequest) -> str:
    size = format_bytes(request.disksize) if request.disksize else "no size yet"
    return f"STATUS=Mounted at {request.mountpoint}: {request.device_count} of {size}, {request.backend.name}"


def make_request(
    mountpoint: Path,
    *,
    size: int | None,
    algorithm: Backend,
    zram_abi: str,
    mem_limit: int | None,
    devices: int,
    accelerator: Profile | None,
    stream_policy: str,
    transport: str,
    busy_poll_us: int,
    allow_other: bool,
    read_only: bool,
    trace_file: Path | None,
    metrics_address: MetricsAddress | None,
) -> daemon.MountRequest:
    """Check what `mount_options` cannot, and say what a mount will lack; `mountpoint` is resolved."""
    if companion.missing_reason and transport == URING:
        raise MountFailed(f"no transport uring: there is no companion ({companion.missing_reason})")
    if companion.missing_reason:
        click.echo(f"zramfs: warning: no companion ({companion.missing_reason}): no discard, no holes", err=True)
    return daemon.MountRequest(
        mountpoint=mountpoint,
        disksize=size,
        backend=algorithm,
        abi=ABIS[zram_abi],
        mem_limit_bytes=mem_limit or 0,
        device_count=devices,
        profile=accelerator,
        policy=StreamPolicy(stream_policy),
        transport=choose_transport(transport),
        busy_poll_us=busy_poll_us,
        allow_other=allow_other,
        read_only=read_only,
        trace_path=_writable(trace_file) if trace_file else None,
        metrics=_listen(metrics_address) if metrics_address else None,
    )


def serve_mount(
    request: daemon.MountRequest,
    log: DaemonLog,
    signals: DaemonSignals,
    on_ready: Callable[[], None],
    *,
    parent: Parent | None = None,
    pid_file: PidFile | None = None,
) -> None:
    """Be the daemon, until the mount has ended."""
    log.start()
    allow_open_files(_OPEN_FILES + _OPEN_FILES_OF_A_DEVICE * request.device_count)
    if pid_file is None:
        trio.run(daemon.run, request, signals, on_ready, parent)
        return
    failures: list[MountFailed] = []
    with pid_file.kept():
        trio.run(daemon.run, request, signals, partial(_note_pid, pid_file, signals, failures, on_ready), parent)
    if failures:
        raise failures[0]


def _note_pid(
    pid_file: PidFile, signals: DaemonSignals, failures: list[MountFailed], on_ready: Callable[[], None]
) -> None:
    """Write the pid file before anybody hears that the mount is ready; end the mount if that cannot be."""
    try:
        pid_file.write()
    except MountFailed as error:
        failures.append(error)
        signals.ask_to_end("there is no pid file")
    else:
        on_ready()


def _listen(address: MetricsAddress) -> daemon.ServedMetrics:
    """Listen for scrapes, and warn of an address that others reach; MountFailed if it cannot be had."""
    listener = open_listener(address)
    if not address.is_loopback:
        click.echo(f"zramfs: warning: whoever reaches {address} can read the metrics", err=True)
    return daemon.ServedMetrics(str(address), listener)


def _writable(trace_file: Path) -> Path:
    """Return the path for the daemon, whose folder is another; MountFailed if the file cannot be written."""
    path = trace_file.absolute()
    try:
        os.close(open_output(path, os.O_TRUNC))
    except OSError as error:
        raise MountFailed(f"cannot trace to {trace_file}: {error.strerror}") from error
    return path
