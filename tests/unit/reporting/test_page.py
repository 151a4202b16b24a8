import pytest

from zramfs.errors import CommandFailed
from zramfs.reporting import page
from zramfs.reporting.page import render_page, require_report_libraries


def test_page_without_its_libraries_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "find_spec", lambda name: None if name == "jinja2" else object())
    with pytest.raises(CommandFailed, match=r"--report needs jinja2: pip install jinja2"):
        require_report_libraries()


def test_page_has_the_common_look_and_escapes_values() -> None:
    made = render_page("<style>{{ style|safe }}</style>{{ word }}", word="<b>")
    assert "--ink" in made
    assert made.endswith("&lt;b&gt;")
