"""The keys of a scenario's tables, and how each is read; docs/simulate.md says what they mean."""

from collections.abc import Mapping
from typing import Any, Final

from zramfs.accel.settings import SETTINGS
from zramfs.contracts import StreamPolicy
from zramfs.simulate.fields import Parse, boolean, choice, periods_ms, real, text, whole, whole_pages
from zramfs.simulate.load_kinds import Distribution, Operation
from zramfs.simulate.scenario import ManagedKind, PercpuKind, Rule, Spread

MOST_CPUS: Final = 4096
MOST_DEVICES: Final = 64


def _any(value: Any) -> Any:
    return value


TOP_KEYS: Final[Mapping[str, Parse]] = {
    "summary": text,
    "seed": whole(0, (1 << 63) - 1),
    "duration_ms": real(most=3.6e9, is_positive=True),
    "warmup_ms": real(most=3.6e9),
    "algorithm": text,
    "service": choice(Distribution),
    "jitter_percent": real(most=100.0),
}
SCENARIO_KEYS: Final[Mapping[str, Parse]] = {
    **TOP_KEYS,
    **dict.fromkeys(("machine", "costs", "contention", "scheduler", "daemon", "streams", "devices", "loads"), _any),
}
"""Likewise, and the tables, which are read by themselves."""

MACHINE_KEYS: Final[Mapping[str, Parse]] = {"table": text, "cpus": whole(1, MOST_CPUS), "groups": _any}
_CPU_COST: Final = real(most=1e6, is_positive=True)
GROUP_KEYS: Final[Mapping[str, Parse]] = {
    "name": text,
    "count": whole(1, MOST_CPUS),
    "like": text,
    "compress_us": _CPU_COST,
    "decompress_us": _CPU_COST,
}
COST_KEYS: Final[Mapping[str, Parse]] = {
    "compress_us": _CPU_COST,
    "decompress_us": _CPU_COST,
    "request_us": real(most=1e6),
    "page_us": real(most=1e6),
    "wake_us": real(most=1e6),
    "completion_us": real(most=1e6),
    "halt_us": real(most=1e6),
    "receive_us": real(most=1e6),
    "copy_us": real(most=1e6),
    "loop_us": real(most=1e6),
    "apart_us": real(most=1e6),
    "pin_us": real(most=1e6),
    "cold_us": real(most=1e6),
    "fetch_us": real(most=1e6),
    "ipi_us": real(most=1e6),
    "timer_us": real(most=1e6),
    "source": text,
}
CONTENTION_KEYS: Final[Mapping[str, Parse]] = {
    "slowdown_percent": real(most=1e4),
    "share_percent": real(least=0.1, most=99.9),
    "lasts_ms": real(least=0.001, most=1e6),
}
SCHEDULER_KEYS: Final[Mapping[str, Parse]] = {
    "quantum_us": real(most=1e9),
    "wakeup_preempts": boolean,
    "migrates": boolean,
    "rule": choice(Rule),
    "slice_us": real(most=1e9),
    "bulk_slice_us": real(most=1e9, is_positive=True),
    "migration_cost_us": real(most=1e9),
    "autogroup": boolean,
}
DAEMON_KEYS: Final[Mapping[str, Parse]] = {
    "crew": whole(0, MOST_CPUS),
    "one_go_us": real(most=1e6),
    "slice_us": real(most=1e6),
    "turn_us": real(most=1e6),
    "share_pages": whole(1, 256),
    "shared_read_pages": whole(1, 1 << 20),
    "poll_us": real(most=1e6),
    "helper_poll_us": real(most=1e6),
}
STREAM_KEYS: Final[Mapping[str, Parse]] = {
    "policy": choice(StreamPolicy),
    "percpu": choice(PercpuKind),
    "managed": choice(ManagedKind),
    "spread": choice(Spread),
    "percpu_run_pages": whole(1, 256),
    "fallback_run_pages": whole(1, 256),
    "run_pages": whole(1, 256),
    "device_reads": boolean,
}
DEVICE_KEYS: Final[Mapping[str, Parse]] = {
    "name": text,
    "profile": text,
    "count": whole(1, MOST_DEVICES),
    "offline_ms": periods_ms,
    "decompress_page_ns": real(most=1e9),
    "emulated": boolean,
    "command_sets": whole(0, 256),
    "completion_cpu": whole(0, MOST_CPUS - 1),
    **dict.fromkeys(SETTINGS, _any),
}

_TASKS: Final = whole(1, 65_536)
_DEPTH: Final = whole(1, 4096)
_COMMON: Final[Mapping[str, Parse]] = {"kind": text, "name": text, "group": text, "after": text}
_REQUESTS: Final[Mapping[str, Parse]] = {
    "tasks": _TASKS,
    "depth": _DEPTH,
    "operation": choice(Operation),
    "size": whole_pages,
    "async": boolean,
    "requests": whole(1, 1 << 62),
}

LOAD_KEYS: Final[Mapping[str, Mapping[str, Parse]]] = {
    "closed": {
        **_COMMON,
        **_REQUESTS,
        "think_us": real(most=1e9),
        "make_us": real(most=1e9),
        "think": choice(Distribution),
        "in_batches": boolean,
    },
    "open": {**_COMMON, **_REQUESTS, "rate_per_s": real(most=1e9, is_positive=True), "burst": whole(1, 65_536)},
    "reclaim": {
        **_COMMON,
        "reclaimers": whole(0, 65_536),
        "batch": _DEPTH,
        "pause_us": real(most=1e9),
        "faulters": whole(0, 65_536),
        "think_us": real(most=1e9),
    },
    "swap": {
        **_COMMON,
        "tasks": _TASKS,
        "batch": _DEPTH,
        "write_size": whole_pages,
        "read_size": whole_pages,
        "make_us": real(most=1e9),
    },
    "replay": {
        **_COMMON,
        "tasks": _TASKS,
        "depth": _DEPTH,
        "path": text,
        "format": text,
        "speed": real(most=1e6, is_positive=True),
    },
}
"""The keys of each kind of load."""

LISTED_KEYS: Final = frozenset(("groups", "offline_ms"))
"""Those whose values are lists."""

WORD_KEYS: Final = frozenset(
    key
    for keys in (TOP_KEYS, MACHINE_KEYS, GROUP_KEYS, COST_KEYS, DEVICE_KEYS, *LOAD_KEYS.values())
    for key, parse in keys.items()
    if parse is text
)
"""Those whose values are text, whatever they look like: there is an algorithm 842."""
