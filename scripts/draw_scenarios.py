"""Runs the scenarios of docs/when-do-managed-streams-pay.md, prints its figures, and draws its plots.

python scripts/draw_scenarios.py            # into docs/simulate/
"""

from pathlib import Path

from zramfs.simulate import load_scenario, run
from zramfs.simulate.break_even import AXES, find_break_even, sentence_of
from zramfs.simulate.plots import break_even_plot
from zramfs.simulate.reading import load_grid
from zramfs.simulate.result import Result
from zramfs.simulate.vary import Variation
from zramfs.simulate.verdict import judge_all

FOLDER = Path(__file__).parent.parent / "docs" / "simulate"
SCENARIOS = ("phone", "laptop", "server", "slow-device", "overloaded")
DRAWN = {"phone": (64, 256), "laptop": (64, 256), "server": (64, 256)}
"""Scenarios with a plot, and its depths."""

FIGURES = ("pages written/s", "CPU s/GiB")
POLICIES = Variation("policy", ("percpu", "auto"))


def figures(result: Result) -> str:
    reads, syncs = (result.latencies[name] for name in ("reads", "sync_writes"))
    waits = reads if reads.requests else syncs
    return (
        f"{result.written_pages_per_s / 1e3:,.0f}k | {result.read_pages_per_s / 1e3:,.0f}k |"
        f" {waits.percentiles_us[99.0]:,.0f} µs | {result.cpu_seconds_per_gib:.2f} | {result.cpu_share:.0%} |"
        f" {result.pages.fallback_share:.0%}"
    )


def main() -> None:
    for name in SCENARIOS:
        results = [run(each) for each in load_grid(FOLDER / f"{name}.toml", [POLICIES])]
        for result in results:
            print(f"| {name} | {dict(result.scenario.varied)['policy']} | {figures(result)} |")
        for _, verdict in judge_all(results):
            print(verdict)
        grid = find_break_even(load_scenario(FOLDER / f"{name}.toml"), {**AXES, "queue_depth": DRAWN.get(name, (256,))})
        print(sentence_of(grid), flush=True)
        if name in DRAWN:
            svg = break_even_plot(grid, FIGURES)
            (FOLDER / f"{name}.svg").write_text(svg)


if __name__ == "__main__":
    main()
