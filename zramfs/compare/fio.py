"""fio: runs a job file on a mount, and reads what its JSON says, by kind of writer."""

import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zramfs.compare.fresh_mount import FreshMount
from zramfs.compare.histogram import Histogram
from zramfs.compare.programs import Interruption, run_workload, shown
from zramfs.compare.workload import ASYNC, READ, SYNC, Made, Plan, Served, WorkloadResult
from zramfs.errors import CommandFailed, InvalidValue
from zramfs.measure.fio import BASICS, file_name, milliseconds, read_report

_FILE_VARIABLE: Final = "ZRAMFS_FILE"
WRITER_RULE: Final = (
    "A job is a synchronous writer if policy auto takes its writes for synchronous: it sets sync (or dsync), or is "
    "neither direct nor ioengine=mmap. Every other job is an asynchronous writer."
)


@dataclass(frozen=True, slots=True)
class FioWorkload:
    """A job file; fio itself puts the mount's block file and times in the place of ``${ZRAMFS_…}``."""

    name: str
    source: str

    def check(self, plan: Plan) -> None:
        """Let fio read the job file; InvalidValue has its complaint, or says that the jobs would run elsewhere."""
        if f"${{{_FILE_VARIABLE}}}" not in self.source:
            raise InvalidValue(f"{self.name} must say filename=${{{_FILE_VARIABLE}}}: its jobs would run elsewhere")
        with tempfile.TemporaryDirectory(prefix="zramfs-compare-") as folder:
            job_file = Path(folder, "jobs.fio")
            job_file.write_text(self.source)
            complaint = _parse_only(job_file, job_environment(Path("/nonexistent/zram0"), plan))
        if complaint:
            raise InvalidValue(f"{self.name}: {complaint}")

    def run(self, mount: FreshMount, plan: Plan, interruption: Interruption) -> WorkloadResult:
        """Run the jobs once."""
        job_file, output = mount.folder / "jobs.fio", mount.folder / "fio.json"
        job_file.write_text(self.source)
        command = [*BASICS, "--output-format=json+", f"--aux-path={mount.folder}", str(job_file)]
        environment = job_environment(mount.block_file, plan)
        mount.commands.append(shown(*command, environment=environment))
        exit_code, complaint = run_workload(command, output, interruption, environment=environment)
        if exit_code:
            raise CommandFailed(f"fio failed: {complaint.removeprefix('fio: ') or f'exit code {exit_code}'}")
        return parse_result(output.read_text())


def job_environment(block_file: Path, plan: Plan) -> dict[str, str]:
    """Return the variables that a job file may use."""
    return {
        _FILE_VARIABLE: file_name(block_file),
        "ZRAMFS_SIZE": str(plan.size_bytes),
        "ZRAMFS_RUNTIME": milliseconds(plan.runtime_s),
        "ZRAMFS_RAMP": milliseconds(plan.ramp_s),
    }


def _parse_only(job_file: Path, environment: Mapping[str, str]) -> str:
    """Return what fio has to say against a job file, or nothing."""
    command = [*BASICS, "--parse-only", str(job_file)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    except FileNotFoundError as error:
        raise CommandFailed("fio is missing: install the package that has it") from error
    if not result.returncode:
        return ""
    complaints = (result.stderr + result.stdout).split("\n")
    return next((line for line in complaints if line.strip()), "fio does not take it")


def parse_result(text: str) -> WorkloadResult:
    """Read fio's ``json+``. CommandFailed if a job failed, or none did anything."""
    report = read_report(text)
    jobs, defaults = report["jobs"], report.get("global options", {})
    served = _served_by_kind(jobs, defaults)
    if not served:
        raise CommandFailed("fio completed no request in its time: give it more --runtime")
    read_bytes = sum(job["read"]["io_bytes"] for job in jobs)
    return WorkloadResult(served=served, read_bytes=read_bytes, made=_made_by_job(jobs))


def _made_by_job(jobs: list[dict[str, Any]]) -> dict[str, Made]:
    """Return what requests took fio itself, by a job's name: `usr_cpu` is a share of its measured time, in percent."""
    made: dict[str, Made] = {}
    for job in jobs:
        if requests := job["read"]["total_ios"] + job["write"]["total_ios"]:
            name, user_s = job["jobname"], job["usr_cpu"] / 100 * job["job_runtime"] / 1000
            made[name] = made.get(name, Made(0, 0.0)) + Made(requests, user_s)
    return made


@dataclass(frozen=True, slots=True)
class _Part:
    """One direction of one job, and the group of jobs that ran at the same time."""

    group: int
    figures: Mapping[str, Any]


def _served_by_kind(jobs: list[dict[str, Any]], defaults: Mapping[str, str]) -> dict[str, Served]:
    parts: dict[str, list[_Part]] = defaultdict(list)
    for job in jobs:
        writer = SYNC if is_synchronous({**defaults, **job["job options"]}) else ASYNC
        for kind, direction in ((writer, "write"), (READ, "read")):
            if job[direction]["total_ios"]:
                parts[kind].append(_Part(job["groupid"], job[direction]))
    return {kind: _served(of_kind) for kind, of_kind in parts.items()}


def _served(parts: list[_Part]) -> Served:
    """Add up what jobs did in the time they took: those of a group ran at once, the groups one after the other."""
    runtime_ms: dict[int, int] = defaultdict(lambda: 1)
    for part in parts:
        runtime_ms[part.group] = max(runtime_ms[part.group], part.figures["runtime"])
    seconds = sum(runtime_ms.values()) / 1000
    return Served(
        bytes_per_s=sum(part.figures["io_bytes"] for part in parts) / seconds,
        requests_per_s=sum(part.figures["total_ios"] for part in parts) / seconds,
        latencies=Histogram.merged(_histogram(part.figures) for part in parts),
    )


def _histogram(figures: Mapping[str, Any]) -> Histogram:
    return Histogram({int(latency_ns): count for latency_ns, count in figures["clat_ns"].get("bins", {}).items()})


def is_synchronous(options: Mapping[str, str]) -> bool:
    """Tell by a job's options, as fio's JSON has them, whether its writer is synchronous: see `WRITER_RULE`."""
    if options.get("sync", "none") not in ("0", "none"):
        return True
    is_direct = options.get("direct", "0") != "0" or options.get("buffered") == "0"
    return not is_direct and options.get("ioengine") != "mmap"
