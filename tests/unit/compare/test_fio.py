import json
from pathlib import Path
from typing import Any

import pytest

from zramfs.compare.fio import FioWorkload, is_synchronous, job_environment, parse_result
from zramfs.compare.workload import Plan, builtin_job_names, read_job_file
from zramfs.errors import CommandFailed, InvalidValue

PLAN = Plan(size_bytes=1 << 20, runtime_s=2)
IDLE = {"total_ios": 0, "io_bytes": 0, "runtime": 0, "clat_ns": {}}


def done(requests: int, *, each_bytes: int = 4096, runtime_ms: int = 1000, latency_ns: int = 5000) -> dict[str, Any]:
    return {
        "total_ios": requests,
        "io_bytes": requests * each_bytes,
        "runtime": runtime_ms,
        "clat_ns": {"bins": {str(latency_ns): requests}},
    }


def job(
    *,
    name: str = "job",
    group: int = 0,
    error: int = 0,
    usr_cpu: float = 0.0,
    options: dict[str, str] | None = None,
    **directions: Any,
) -> dict[str, Any]:
    return {
        "jobname": name,
        "groupid": group,
        "error": error,
        "usr_cpu": usr_cpu,
        "job_runtime": 1000,
        "job options": options or {},
        "write": IDLE,
        "read": IDLE,
        **directions,
    }


def output(*jobs: dict[str, Any], **options: str) -> str:
    return "fio: a warning\n" + json.dumps({"global options": options, "jobs": jobs})


def test_result_tells_sync_and_async_writers_apart() -> None:
    flood = job(options={"ioengine": "libaio"}, write=done(10, each_bytes=1 << 20))
    sync = job(options={"sync": "1"}, write=done(500, latency_ns=20_000))
    served = parse_result(output(flood, sync, direct="1")).served
    assert (served["async"].requests_per_s, served["async"].bytes_per_s) == (10, 10 << 20)
    assert (served["sync"].requests_per_s, served["sync"].bytes_per_s) == (500, 500 * 4096)
    latencies = served["sync"].latencies
    assert latencies is not None
    assert latencies.counts == {20_000: 500}


def test_result_counts_reads_apart_from_their_jobs_writes() -> None:
    result = parse_result(output(job(options={"sync": "1"}, write=done(1), read=done(30))))
    assert (result.served["sync"].requests_per_s, result.served["read"].requests_per_s) == (1, 30)
    assert result.read_bytes == 30 * 4096


def test_result_has_what_requests_took_each_job_that_made_some() -> None:
    jobs = (
        job(name="flood", usr_cpu=20.0, write=done(100)),
        job(name="flood", usr_cpu=10.0, write=done(50), read=done(50)),
        job(name="sync", usr_cpu=2.5, write=done(10_000)),
        job(name="idle", usr_cpu=1.0),
    )
    made = parse_result(output(*jobs)).made
    assert {name: (each.requests, each.us) for name, each in made.items()} == {
        "flood": (200, pytest.approx(1500.0)),
        "sync": (10_000, pytest.approx(2.5)),
    }


def test_result_of_jobs_that_ran_at_once_takes_the_longest_ones_time() -> None:
    jobs = [job(write=done(100, runtime_ms=1000)), job(write=done(100, runtime_ms=2000))]
    assert parse_result(output(*jobs)).served["sync"].requests_per_s == 100


def test_result_of_jobs_that_ran_in_turn_takes_their_times_together() -> None:
    jobs = [job(group=0, write=done(100, runtime_ms=1000)), job(group=1, write=done(300, runtime_ms=1000))]
    assert parse_result(output(*jobs)).served["sync"].requests_per_s == 200


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no json", "is not the JSON it should be"),
        ("{}", "is not the JSON it should be"),
        (output(job(error=5, write=done(1))), "fio reports error 5: Input/output error"),
        (output(job()), "completed no request"),
    ],
)
def test_result_that_is_none_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(CommandFailed, match=complaint):
        parse_result(text)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ioengine": "psync", "direct": "1", "sync": "1"}, True),
        ({"ioengine": "libaio", "direct": "1", "sync": "dsync"}, True),
        ({"ioengine": "psync"}, True),
        ({"ioengine": "psync", "direct": "1"}, False),
        ({"ioengine": "libaio", "buffered": "0", "sync": "0"}, False),
        ({"ioengine": "io_uring", "direct": "1", "sync": "none"}, False),
        ({"ioengine": "mmap"}, False),
    ],
)
def test_writer_is_synchronous_as_policy_auto_takes_it(options: dict[str, str], expected: bool) -> None:  # noqa: FBT001
    assert is_synchronous(options) is expected


def test_environment_says_colons_as_fio_wants_them() -> None:
    environment = job_environment(Path("/mnt/a:b/zram0"), PLAN)
    assert environment == {
        "ZRAMFS_FILE": r"/mnt/a\:b/zram0",
        "ZRAMFS_SIZE": "1048576",
        "ZRAMFS_RUNTIME": "2000ms",
        "ZRAMFS_RAMP": "500ms",
    }


@pytest.mark.parametrize("name", builtin_job_names())
def test_builtin_job_file_is_one_that_fio_takes(name: str) -> None:
    FioWorkload(name, read_job_file(name)).check(PLAN)


def test_job_file_that_would_run_elsewhere_is_refused() -> None:
    with pytest.raises(InvalidValue, match=r"x.fio must say filename=\$\{ZRAMFS_FILE\}"):
        FioWorkload("x.fio", "[job]\nfilename=/dev/sda\n").check(PLAN)


def test_job_file_that_fio_does_not_take_is_refused_in_fios_words() -> None:
    with pytest.raises(InvalidValue, match="Bad option <bogus=1>"):
        FioWorkload("x.fio", "[job]\nfilename=${ZRAMFS_FILE}\nbogus=1\n").check(PLAN)


def test_workload_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidValue, match=r"did you mean async-flood.* There are async-flood, mixed, sync-only, swap-storm"
    ):
        read_job_file("flood")
    with pytest.raises(InvalidValue, match=r"none.fio cannot be read: No such file or directory"):
        read_job_file(str(tmp_path / "none.fio"))
