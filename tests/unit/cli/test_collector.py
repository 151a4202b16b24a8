import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from status_reports import a_dead_report, a_report

from zramfs.cli.collector import registry_of

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "contrib/grafana/zramfs.json"
PAGE = ROOT / "docs/metrics.md"

TEXT = generate_latest(registry_of(lambda: [a_report(), a_dead_report()])).decode()
FAMILIES = {family.name: family for family in text_string_to_metric_families(TEXT)}
DRAWN = json.loads(DASHBOARD.read_text())
SAMPLES = [sample for family in FAMILIES.values() for sample in family.samples]


def value_of(name: str, **labels: str) -> float:
    return next(each.value for each in SAMPLES if each.name == name and labels.items() <= each.labels.items())


def test_values_are_the_reports_in_base_units() -> None:
    assert value_of("zramfs_size_bytes") == 1 << 30
    assert value_of("zramfs_busy_seconds_total") == 1.5
    assert value_of("zramfs_failed_requests_total", operation="write") == 6
    assert value_of("zramfs_memory_limit_hits_total") == 7
    assert value_of("zramfs_percpu_pages_total", cpu="0") == 10
    assert value_of("zramfs_daemon_info", version="0.1.0", transport="dev") == 1


def test_a_dead_mount_is_down_and_has_nothing_else() -> None:
    assert value_of("zramfs_up", mountpoint="/m") == 1
    assert [(each.name, each.value) for each in SAMPLES if each.labels["mountpoint"] == "/dead"] == [("zramfs_up", 0)]


def test_durations_are_a_histogram() -> None:
    name = "zramfs_request_duration_seconds"
    assert value_of(f"{name}_bucket", operation="read", le="2.048e-06") == 90
    assert value_of(f"{name}_bucket", operation="write", le="8.192e-06") == 0
    assert (
        value_of(f"{name}_bucket", operation="write", le="+Inf") == value_of(f"{name}_count", operation="write") == 50
    )
    assert value_of(f"{name}_sum", operation="read") == 300e-6


def test_names_follow_prometheuss_conventions() -> None:
    for family in FAMILIES.values():
        assert re.fullmatch(r"zramfs_[a-z_]+", family.name)
        assert not re.search(r"_(us|ms|ns|kb|mb|percent)\b", family.name)
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)


def test_every_metric_has_a_line_in_the_page_and_no_other_has() -> None:
    told = set(re.findall(r"^\| `(zramfs_[a-z_]+)`", PAGE.read_text(), re.MULTILINE))
    assert told == {
        sample.name.removesuffix("_bucket") if family.type == "histogram" else sample.name
        for family in FAMILIES.values()
        for sample in family.samples[:1]
    }


def test_alerts_of_the_page_ask_for_metrics_that_there_are() -> None:
    names = {name for rule in re.findall(r"expr: (.*)", PAGE.read_text()) for name in re.findall(r"zramfs_\w+", rule)}
    assert names
    assert names <= {sample.name for sample in SAMPLES}


def queries(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "expr")
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from queries(each)


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    expressions = list(queries(DRAWN))
    names = {name for expression in expressions for name in re.findall(r"\bzramfs_\w+", expression)}
    assert len(expressions) >= 8
    assert names <= {sample.name for sample in SAMPLES}


def test_labels_of_the_dashboard_are_those_of_its_metrics() -> None:
    labels = {sample.name: set(sample.labels) for sample in SAMPLES}
    for expression in queries(DRAWN):
        asked = set(re.findall(r"(\w+)=~?\"", expression)) | set(re.findall(r"by \(([\w, ]+)\)", expression))
        for name in re.findall(r"\bzramfs_\w+", expression):
            assert {word for group in asked for word in group.split(", ")} <= labels[name] | {"instance"}


def test_the_dashboard_keeps_machines_apart() -> None:
    """Two machines may have a mount at the same place: a sum over them is nobody's."""
    for panel in DRAWN["panels"]:
        for target in panel["targets"]:
            assert 'instance=~"$instance"' in target["expr"]
            assert "sum" not in target["expr"]
            assert "{{instance}}" in target["legendFormat"]


def test_panels_of_the_dashboard_have_places_and_sources_of_their_own() -> None:
    panels = DRAWN["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    askers = [*panels, *(target for panel in panels for target in panel["targets"])]
    askers += [each for each in DRAWN["templating"]["list"] if each["type"] == "query"]
    assert all(each["datasource"] == {"type": "prometheus", "uid": "${source}"} for each in askers)
