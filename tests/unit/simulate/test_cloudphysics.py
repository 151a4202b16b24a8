"""A block trace that the user has becomes one that a scenario replays."""

import subprocess
import sys
from pathlib import Path

import pytest

from zramfs.simulate.traces import load_trace

SCRIPT = Path(__file__).parents[3] / "scripts" / "cloudphysics_to_csv.py"

TRACE = """version,time,op,size,lbn,extra
1,1000000,2a,8192,16,x
1,1000250,28,4096,8,x
1,1000300,35,0,0,x
1,1001000,42,512,9,x
"""


def convert(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_reads_and_writes_are_replayed_at_their_times(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(TRACE)
    result = convert(tmp_path / "in.csv")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "1.000000,8192,8192,w"
    (tmp_path / "out.csv").write_text(result.stdout)
    trace = load_trace(tmp_path / "out.csv")
    assert list(trace.arrivals_ns) == [0, 250_000, 1_000_000]
    assert list(trace.pages) == [2, 1, 1]
    assert list(trace.kinds) == [1, 2, 1]


def test_other_columns_and_clocks_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("7,w,4096,3\n")
    assert convert(tmp_path / "in.csv", "--columns", "1,2,3,4", "--ticks", "1").stdout == "7.000000,1536,4096,w\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [("1,2,3\n", "line 1: '1,2,3'"), ("1,x,2a,4096,8\n", "line 1"), ("a,b\n", "there is no read or write in it")],
)
def test_what_is_no_such_trace_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(text)
    result = convert(tmp_path / "in.csv")
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
