"""What was compared, as a scenario for `zramfs simulate`: it answers for devices that no machine here can emulate.

Its machine is this one, measured by `zramfs simulate --calibrate`, and its requests go to a daemon, as those did.
"""

import json
import os
import shlex
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from zramfs.accel.profile import NO_ACCELERATOR
from zramfs.compare.fresh_mount import fresh_mount
from zramfs.compare.rounds import Comparison, Row
from zramfs.compare.settings import Setting
from zramfs.compare.workload import SWAP_STORM, Made, builtin_job_names

_MACHINE_SIZE: Final = "512M"
_GIVEN: Final = "given"
_TRANSPORT: Final = "transport"
_POLICIES: Final = "policy=percpu,auto"

_JITTER: Final = """\
# On an AMD EPYC the middle half of synchronous writes that nothing held up was from 2 to 5 % below the median to 2 to
# 20 % above it, in six runs; a write is several pieces of work.
jitter_percent = 20
"""

_STREAMS: Final = """\
# Threads share the CPUs as Linux lets them.
[scheduler]
rule = "eevdf"

# As zramfs has them, which does not wait for each page as the RFC does.
[streams]
managed = "nonblocking"
run_pages = 64
percpu_run_pages = 32
fallback_run_pages = 8
"""


def measure_machine(table: Path) -> None:
    """Write the table of this machine, requests through a mount of its own included. CommandFailed if it cannot be."""
    with fresh_mount(["--size", _MACHINE_SIZE, "--stream-policy", "percpu", "--transport", "dev"]) as mount:
        mount.zramfs("simulate", "--calibrate", str(table), "--through", str(mount.path))


def scenario_of(comparison: Comparison, table: Path) -> str | None:
    """Return the scenario as TOML, on the machine of a table that `measure_machine` has written.

    None if no device was compared, or the load is a job file of the user's.
    """
    name = comparison.workload.name
    with_device = [row.setting for row in comparison.rows if row.setting.profile is not None]
    if not with_device or name not in (*builtin_job_names(), SWAP_STORM):
        return None
    loads = _loads(name, comparison.measured)
    summary = f'summary = "zramfs compare --workload {name}"\n{_JITTER}'
    return "\n".join((summary, _machine(table), _STREAMS, _device(with_device[0]), loads))


def _loads(workload: str, measured: Sequence[Row]) -> str:
    """Return a workload's loads, and what requests took those who made them, where that was measured."""
    text = resources.files("zramfs.compare").joinpath("workloads", f"{workload}.toml").read_text()
    for name in dict.fromkeys(name for row in measured for run in row.runs for name in run.made):
        line = f"name = {json.dumps(name)}\n"
        text = text.replace(line, f"{line}{_make(name, measured)}\n")
    return text


def _make(name: str, measured: Sequence[Row]) -> str:
    """Return a job's time for a request over all runs, and how far settings are apart."""
    by_setting = [[run.made[name] for run in row.runs if name in run.made] for row in measured]
    sums = [sum(made, Made(0, 0.0)) for made in by_setting if made]
    total, apart = sum(sums, Made(0, 0.0)), sorted(each.us for each in sums)
    of_settings = f", {apart[0]:.1f} to {apart[-1]:.1f} us under single settings" if len(apart) > 1 else ""
    of_all = f"{total.user_s:.2f} s for {total.requests:,} requests{of_settings}"
    return f"make_us = {total.us:.2f}    # measured in these runs: fio's CPU time in user mode, {of_all}"


def _machine(table: Path) -> str:
    """Return the machine that was measured, and the threads that serve a mount on it by the transport `dev`."""
    return (
        f"[machine]\ntable = {json.dumps(str(table.absolute()))}\n\n"
        "# One receiver, and a crew of a thread for each other CPU: zramfs with the transport dev. Without this\n"
        "# table, the writers do the work themselves, as in the kernel.\n"
        f"[daemon]\ncrew = {len(os.sched_getaffinity(0)) - 1}\n"
    )


def _device(setting: Setting) -> str:
    """Name the profile, and what the user gave beside it; what varies is given by the command."""
    assert setting.profile is not None  # noqa: S101 - see above
    name = setting.accelerator.partition(",")[0]
    varied = dict(setting.values)
    lines = {"profile": str(Path(name).absolute()) if "/" in name or name.endswith(".toml") else name}
    for key, number in setting.profile.settings.items():
        if number.basis == _GIVEN and key not in varied:
            lines[key] = str(number.value)
    return "\n".join(["[[devices]]", *(f"{key} = {_toml(value)}" for key, value in lines.items()), ""])


def _toml(value: str) -> str:
    """Return a value as TOML has it; JSON's strings are strings of TOML as well."""
    return value if value.isdigit() else json.dumps(value)


def simulate_line(comparison: Comparison, path: Path) -> str:
    """Return the command that simulates the same settings, and per-CPU streams beside them."""
    variations = [f"{key}={','.join(values)}" for key, values in _variations(comparison) if values]
    if not any(each.startswith("policy=") for each in variations):
        variations.append(_POLICIES)
    options = [word for each in variations for word in ("--vary", each)]
    return shlex.join(["zramfs", "simulate", str(path), *options])


def _variations(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return the keys that vary, with their values; `none` is no device to simulate, and there is one transport."""
    found: dict[str, dict[str, None]] = {}
    for row in comparison.rows:
        for key, value in row.setting.values:
            if key == _TRANSPORT:
                continue
            found.setdefault(key, {})
            if value != NO_ACCELERATOR:
                found[key][value] = None
    return [(key, list(values)) for key, values in found.items()]
