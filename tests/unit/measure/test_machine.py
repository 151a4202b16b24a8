import sys
from pathlib import Path

import pytest

from zramfs.measure.machine import (
    field_of,
    memory_bytes,
    processor_name,
    system_name,
    version_of_package,
    version_of_program,
)


def test_this_machine_is_told() -> None:
    assert processor_name()
    assert system_name()
    assert 0 < memory_bytes("MemAvailable") < memory_bytes("MemTotal")


@pytest.mark.parametrize(
    ("name", "value"), [("model name", "A CPU: fast"), ("flags", ""), ("missing", ""), ("model", "")]
)
def test_first_value_of_a_name_is_told(tmp_path: Path, name: str, value: str) -> None:
    (tmp_path / "file").write_bytes(b"bad \xff line\nmodel name\t: A CPU: fast\nmodel name : another\nflags:\n")
    assert field_of(str(tmp_path / "file"), name) == value
    assert field_of(str(tmp_path / "no file"), name) == ""


def test_versions_of_what_is_not_there_are_empty() -> None:
    assert version_of_package("pytest") == pytest.__version__
    assert version_of_package("no-such-package") == ""
    assert version_of_program("no-such-program", "--version") == ""


@pytest.mark.parametrize(
    ("code", "said"), [("print('first'); print('second')", "first"), ("raise SystemExit('error')", ""), ("pass", "")]
)
def test_version_is_the_first_line_of_a_program_that_ends_well(code: str, said: str) -> None:
    assert version_of_program(sys.executable, "-c", code) == said
