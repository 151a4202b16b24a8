import json
from pathlib import Path

import pytest

from zramfs.errors import CommandFailed
from zramfs.measure.fio import file_name, milliseconds, read_report


def test_words_are_written_as_fio_reads_them() -> None:
    assert file_name(Path("/run/a:b/zram0")) == r"/run/a\:b/zram0"
    assert milliseconds(1.5) == "1500ms"


def test_warnings_before_the_report_are_passed_over() -> None:
    report = {"jobs": [{"error": 0, "jobname": "one"}]}
    assert read_report("fio: this is a warning\n" + json.dumps(report)) == report


@pytest.mark.parametrize("text", ["", "fio: no", "{", "{}", '{"jobs": [{}]}'])
def test_what_is_no_report_is_told(text: str) -> None:
    with pytest.raises(CommandFailed, match="not the JSON"):
        read_report(text)


def test_error_of_a_job_is_told() -> None:
    with pytest.raises(CommandFailed, match="error 28: No space left"):
        read_report('{"jobs": [{"error": 0}, {"error": 28}]}')
