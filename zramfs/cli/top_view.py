"""The screen of `zramfs top`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from zramfs.cli.fitting import Heading, cells_of, fitting_tables
from zramfs.units import format_bytes

Rates = Mapping[str, Any]

_OPERATION_TITLES: Final = ("", "IOPS", "B/s", "p50 µs", "p99 µs", "p99.9 µs", "max µs")
_KEYS: Final = ("q", "ends")


def screen_lines(mounts: Sequence[Rates], width: int) -> list[str]:
    """Return what is shown of some mounts: no line is wider; a mount point that is too long is cut where it begins."""
    lines: list[str] = []
    for mount in mounts:
        what = f" by {mount['transport']}, {mount['seconds']:.1f} s; {' '.join(_KEYS)}"
        lines.append(_ending(mount["mountpoint"], width - len(what)) + what)
        for device in mount["devices"]:
            lines += ["", *_of_device(device, width)]
        lines.append("")
    return lines


def fitting_screen(lines: Sequence[str], width: int, height: int) -> list[str]:
    """Return the lines that a terminal has room for; the last one says how many there are besides."""
    if len(lines) <= height:
        return list(lines)
    shown = lines[: height - 1]
    return [*shown, f"… {len(lines) - len(shown)} more lines: a higher terminal shows them"[:width]]


def _ending(text: str, width: int) -> str:
    """Return the end of a text that is too wide, which tells most of a path."""
    if cells_of(text) <= width:
        return text
    while text and cells_of(text) >= width:
        text = text[1:]
    return f"…{text}"


def _of_device(device: Rates, width: int) -> list[str]:
    headings = [Heading(device["name"], is_text=True), *(Heading(title) for title in _OPERATION_TITLES[1:])]
    rows = [_operation_row(operation, each) for operation, each in device["operations"].items()]
    ratio = "-" if device["ratio"] is None else f"{device['ratio']:.2f}"
    share = device["fallback_share"]
    depth, most = device["queue_depth"], device["queue_depth_most"]
    failed = ", ".join(f"{count:,} {operation}s" for operation, count in device["failed"].items())
    return [
        *fitting_tables(headings, rows, width),
        f"holds {format_bytes(device['orig_data_size'])} in {format_bytes(device['mem_used_total'])}, ratio {ratio}",
        f"in flight {device['in_flight']:,}, accelerator {depth:,}, most {most:,}",
        f"fallback {'-' if share is None else f'{share:.1%}'}, late completions {device['late_completions']:,}",
        f"failed {failed}; kept out by mem_limit {device['limit_hits']:,}",
        *fitting_tables([Heading("pages/s", is_text=True), *_stream_headings(device)], [_stream_row(device)], width),
    ]


def _operation_row(operation: str, told: Rates) -> list[str]:
    times = (told[f"{name}_us"] for name in ("p50", "p99", "p999", "max"))
    return [
        operation,
        f"{told['iops']:,.0f}",
        format_bytes(told["bytes_per_second"]),
        *("-" if time is None else f"{time:,.1f}" for time in times),
    ]


def _stream_headings(device: Rates) -> list[Heading]:
    return [
        *(Heading(title) for title in ("per-CPU", "managed", "fallback")),
        *(Heading(f"CPU {cpu}") for cpu in device["percpu_pages_per_second"]),
    ]


def _stream_row(device: Rates) -> list[str]:
    kinds = device["pages_per_second"]
    rates = [*(kinds[kind] for kind in ("percpu", "managed", "fallback")), *device["percpu_pages_per_second"].values()]
    return ["", *(f"{rate:,.0f}" for rate in rates)]
