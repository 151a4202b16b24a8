"""`zramfs mount`: check everything while there is a terminal to complain to, then leave a daemon."""

import os
from pathlib import Path

import click
import trio

from zramfs.abi import ABIS, NEWEST
from zramfs.accel.profile import Profile
from zramfs.cli import daemon
from zramfs.cli.daemonize import leave_daemon, occupy_standard_fds
from zramfs.cli.listening import MetricsAddress, open_listener
from zramfs.cli.log import open_log
from zramfs.cli.parameters import mountpoint_argument
from zramfs.cli.signals import DaemonSignals
from zramfs.cli.values import ACCELERATOR, ALGORITHM, METRICS_ADDRESS, SIZE
from zramfs.contracts import Backend, StreamPolicy
from zramfs.errors import MountFailed
from zramfs.fuse import companion
from zramfs.mountpoint import prepare_mountpoint
from zramfs.outputs import open_output
from zramfs.receive.choice import URING, choose_transport


@click.command(short_help="Mount compressed RAM disks at a directory.")
@mountpoint_argument
@click.option("--size", type=SIZE, help="Size of each device, such as 1G; without it they start uninitialised.")
@click.option("--algorithm", type=ALGORITHM, default="lz4", show_default=True, help="Compression algorithm.")
@click.option(
    "--zram-abi",
    type=click.Choice(list(ABIS)),
    default=NEWEST.name,
    show_default=True,
    help="Behave as the zram of this version of Linux, where they differ (docs/zram-abi.md).",
)
@click.option("--mem-limit", type=SIZE, help="Most memory that each device may use, such as 512M.")
@click.option("--devices", type=click.IntRange(1, 64), default=1, show_default=True, help="How many devices.")
@click.option(
    "--accel",
    "accelerator",
    type=ACCELERATOR,
    default="ideal",
    show_default=True,
    help="Accelerator behind the managed streams: a profile with changes, or none.",
)
@click.option(
    "--stream-policy",
    type=click.Choice([policy.value for policy in StreamPolicy]),
    default="auto",
    show_default=True,
    help="Streams for writes: managed for asynchronous ones (auto), or one kind for all.",
)
@click.option(
    "--transport",
    type=click.Choice(["auto", "dev", "uring"]),
    default="auto",
    show_default=True,
    help="How requests arrive: by io_uring, a queue for each CPU; by /dev/fuse; or by io_uring where it is (auto).",
)
@click.option(
    "--busy-poll",
    "busy_poll_us",
    metavar="USEC",
    type=click.IntRange(0, 10_000),
    default=50,
    show_default=True,
    help="How long to poll for the next request before sleeping; 0 to sleep at once.",
)
@click.option(
    "--allow-other", is_flag=True, help="Let other users read the statistics; the block files stay their owner's."
)
@click.option("--foreground", is_flag=True, help="Stay, and log to the terminal, until unmounted or interrupted.")
@click.option("--log-file", type=click.Path(path_type=Path, dir_okay=False), help="Where the daemon logs.")
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a line of JSON for each request to this file.",
)
@click.option(
    "--metrics",
    "metrics_address",
    type=METRICS_ADDRESS,
    help="Serve metrics for Prometheus there; a port alone is one of the loopback.",
)
def mount(
    mountpoint: Path,
    size: int | None,
    algorithm: Backend,
    zram_abi: str,
    mem_limit: int | None,
    devices: int,
    accelerator: Profile | None,
    stream_policy: str,
    transport: str,
    busy_poll_us: int,
    *,
    allow_other: bool,
    foreground: bool,
    log_file: Path | None,
    trace_file: Path | None,
    metrics_address: MetricsAddress | None,
) -> None:
    """Mount compressed RAM disks at the directory MOUNTPOINT.

    Returns as soon as MOUNTPOINT/zram0 answers I/O, and leaves a daemon. What is stored is gone once it is unmounted.
    """
    occupy_standard_fds()
    prepare_mountpoint(mountpoint)
    if companion.missing_reason and transport == URING:
        raise MountFailed(f"no transport uring: there is no companion ({companion.missing_reason})")
    if companion.missing_reason:
        click.echo(f"zramfs: warning: no companion ({companion.missing_reason}): no discard, no holes", err=True)
    request = daemon.MountRequest(
        mountpoint=Path(os.path.realpath(mountpoint)),
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
        trace_path=_writable(trace_file) if trace_file else None,
        metrics=_listen(metrics_address) if metrics_address else None,
    )
    log = open_log(log_file, request.mountpoint, is_foreground=foreground)
    signals = DaemonSignals(log)
    if foreground:
        signals.catch()
        log.start()
        trio.run(daemon.run, request, signals, lambda: None)
        return
    kept_fds = [request.metrics.listener.fileno()] if request.metrics else []
    with leave_daemon(log, signals, kept_fds) as report_ready:
        log.start()
        trio.run(daemon.run, request, signals, report_ready)


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
