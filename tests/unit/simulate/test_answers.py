"""docs/when-do-managed-streams-pay.md says what its scenarios say: run briefly, in the direction of each sentence."""

import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from zramfs.simulate.reading import load_grid
from zramfs.simulate.result import Result
from zramfs.simulate.run import run
from zramfs.simulate.vary import Variation
from zramfs.simulate.verdict import judge_all

DOCS = Path(__file__).parents[3] / "docs"
ANSWERS = DOCS / "when-do-managed-streams-pay.md"
ROWS = re.findall(
    r"^\| \[[^]]*\]\((simulate/[\w-]+\.toml)\)[^|]*\| \*\*([^*]+)\*\* \|", ANSWERS.read_text(), re.MULTILINE
)
BRIEFLY_US = 60_000.0


@cache
def results(name: str, *varied: str) -> dict[str, Result]:
    """By the values of what is varied, `key=value,value`."""
    variations = [
        Variation(key, tuple(values.split(","))) for key, _, values in (each.partition("=") for each in varied)
    ]
    scenarios = load_grid(DOCS / "simulate" / f"{name}.toml", variations)
    brief = [
        replace(each, duration_us=min(each.duration_us, BRIEFLY_US), warmup_us=BRIEFLY_US / 5) for each in scenarios
    ]
    return {",".join(value for _, value in each.varied): run(each) for each in brief}


def read_p99_us(result: Result) -> float:
    return result.latencies["reads"].percentiles_us[99.0]


def test_the_table_has_the_machines_of_the_question() -> None:
    assert [Path(path).stem for path, _ in ROWS] == ["phone", "laptop", "server", "slow-device", "overloaded"]


@pytest.mark.parametrize(("path", "answer"), ROWS)
def test_a_machine_pays_or_not_as_the_table_says(path: str, answer: str) -> None:
    ((_, verdict),) = judge_all(list(results(Path(path).stem, "policy=percpu,auto").values()))
    assert verdict.pays.value == answer


def test_waiting_for_a_full_queue_costs_throughput_and_spares_the_cpus() -> None:
    both = results("overloaded", "when_full=fallback,wait")
    assert both["wait"].written_pages_per_s < both["fallback"].written_pages_per_s / 4
    assert read_p99_us(both["wait"]) < read_p99_us(both["fallback"]) / 10


def test_synchronous_writers_lose_on_managed_streams_alone() -> None:
    policies = results("sync-writers", "policy=percpu,auto,managed")
    p99s = {name: each.latencies["sync_writes"].percentiles_us[99.0] for name, each in policies.items()}
    assert p99s["auto"] == pytest.approx(p99s["percpu"], rel=0.1)
    assert p99s["managed"] > 20 * p99s["auto"]
    assert policies["managed"].written_pages_per_s < policies["percpu"].written_pages_per_s


def test_a_device_that_recompresses_saves_cpu_time_and_spares_faults() -> None:
    both = results("recompression", "loads.recompression.async=false,true")
    assert both["true"].cpu_seconds_per_gib < 0.7 * both["false"].cpu_seconds_per_gib
    assert read_p99_us(both["true"]) < read_p99_us(both["false"]) / 2


def test_blocking_streams_lose_on_the_server_and_pay_on_the_phone() -> None:
    kinds = ("policy=percpu,auto", "managed=blocking,nonblocking")
    server, phone = (results(name, *kinds) for name in ("server", "phone"))
    for machine in (server, phone):
        assert machine["auto,blocking"].written_pages_per_s < machine["auto,nonblocking"].written_pages_per_s
    assert server["auto,blocking"].written_pages_per_s < server["percpu,blocking"].written_pages_per_s
    assert phone["auto,blocking"].written_pages_per_s > phone["percpu,blocking"].written_pages_per_s


# ---- published figures: docs/simulate.md -----------------------------------------------------------------------------


def test_software_at_once_beats_waiting_when_the_queue_is_busy() -> None:
    both = results("qemu-busy-queue", "when_full=fallback,wait")
    assert both["wait"].written_pages_per_s == pytest.approx(0.86e6, rel=0.1)
    assert 1.3 < both["fallback"].written_pages_per_s / both["wait"].written_pages_per_s < 2.2


def test_batches_beat_single_pages() -> None:
    both = results("zswap-batching", "loads.page-outs.size=4K,32K")
    assert both["4K"].written_pages_per_s == pytest.approx(0.58e6, rel=0.15)
    assert both["32K"].written_pages_per_s == pytest.approx(0.93e6, rel=0.15)


def test_a_read_stream_beside_the_write_stream_lets_reads_pass() -> None:
    both = results("split-streams", "streams.percpu=mutex,split")
    assert both["split"].read_pages_per_s == pytest.approx(0.997e6, rel=0.15)
    assert both["mutex"].read_pages_per_s < both["split"].read_pages_per_s / 2
    assert read_p99_us(both["split"]) < read_p99_us(both["mutex"]) / 5
