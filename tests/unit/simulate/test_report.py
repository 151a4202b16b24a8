"""The page: figures, plots, the sentence, and where every number comes from."""

import re

import pytest

from zramfs.accel.profile import load_profile
from zramfs.simulate.break_even import find_break_even, sentence_of
from zramfs.simulate.reading import load_grid
from zramfs.simulate.report import Circumstances, render_report
from zramfs.simulate.run import run
from zramfs.simulate.vary import Variation

SCENARIO = """
summary = "one & another"
duration_ms = 5
[machine]
table = "ryzen-7950x"
cpus = 2
[[devices]]
profile = "iaa"
[[loads]]
kind = "closed"
name = "flood"
async = true
[[loads]]
kind = "closed"
name = "faults"
operation = "read"
"""
CIRCUMSTANCES = Circumstances(command="zramfs simulate '<a>.toml'", version="9.9", when="today", source="seed = '<b>'")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "two.toml"
    path.write_text(SCENARIO)
    scenarios = load_grid(path, [Variation("policy", ("percpu", "auto"))])
    grid = find_break_even(scenarios[1], {"page_ns": (1000, 9000), "engines": (2,), "queue_depth": (16, 32)})
    made = render_report([run(each) for each in scenarios], grid, CIRCUMSTANCES)
    assert sentence_of(grid).replace("'", "&#39;") in made
    return made


def test_report_says_how_to_get_it_again(page: str) -> None:
    for words in (
        "zramfs simulate &#39;&lt;a&gt;.toml&#39;",
        "seed 1",
        "zramfs 9.9",
        "seed = &#39;&lt;b&gt;&#39;",
        "one &amp; another",
    ):
        assert words in page


def test_report_has_a_row_and_a_verdict_for_each_setting(page: str) -> None:
    assert [f'<td class="setting">{policy}</td>' in page for policy in ("percpu", "auto")] == [True, True]
    assert "policy=auto: " in page


def test_report_has_every_plot(page: str) -> None:
    assert page.count("<svg") == 6
    for heading in ("Break-even", "Throughput", "Latency distribution", "CPU time", "Pages by stream", "Queue depth"):
        assert f"<h2>{heading}" in page
    assert not any(re.search(r"\.\d\d", path) for path in re.findall(r' d="([^"]*)"', page))


def test_report_has_every_number_with_its_basis(page: str) -> None:
    for key, number in load_profile("iaa").settings.items():
        row = page.partition(f"<td>{key}</td>")[2].partition("</tr>")[0]
        assert f">{number.basis}<" in row
    row = page.partition("compress a page, lz4</td>")[2].partition("</tr>")[0]
    assert ">published<" in row


def test_report_needs_nothing_beside_it(page: str) -> None:
    assert not re.search(r'(src|href)="(?!#)', page)
