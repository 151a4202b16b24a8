import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zramfs.cli.accel import accel


def show(*arguments: str) -> Result:
    return CliRunner().invoke(accel, ["show", *arguments])


def test_show_has_the_values_that_are_given_with_the_name() -> None:
    settings = json.loads(show("qpace,page_ns=5000", "--json").output)["settings"]
    assert settings["page_ns"] == {"value": 5000, "basis": "given", "source": "by the user"}
    assert settings["queue_depth"]["basis"] == "published"


def test_show_of_none_says_what_that_means() -> None:
    assert show("none").output == "none: no accelerator; per-CPU streams compress everything\n"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("qpace,page=5", "did you mean page_ns?"),
        ("qpase", "did you mean qpace?"),
        ("mine.toml", "cannot be read"),
    ],
)
def test_show_of_what_is_none_is_bad_usage(name: str, complaint: str) -> None:
    result = show(name)
    assert result.exit_code == 2
    assert complaint in result.output


def test_the_example_of_the_documentation_is_a_profile(tmp_path: Path) -> None:
    text = Path(__file__).parents[3].joinpath("docs/accelerator.md").read_text()
    example = text.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "mine.toml").write_text(example)
    result = show(str(tmp_path / "mine.toml"))
    assert result.exit_code == 0, result.output
    assert result.output.startswith("mine: ")
