"""Manual pages: of every verb there is, of the same source as --help, and without a warning of those who show them."""

import shutil
import subprocess
from datetime import date
from pathlib import Path

import click
import pytest

from zramfs.cli.program import zramfs
from zramfs.manual.page import pages

DAY = date(2026, 11, 27)


@click.group(help="A program that has one verb.")
def program() -> None: ...


@program.command(short_help="Does it.")
@click.argument("where")
@click.option("--how", default="well", show_default=True, help="'Tis how: \\fast, or -slowly.")
def verb(where: str, how: str) -> None:
    """Do it at WHERE.

    .PP is no request here.
    """


def test_page_has_what_help_has() -> None:
    page = pages(program, "1.0", DAY)["zramfs-verb"]
    assert '.TH ZRAMFS-VERB 1 2026-11-27 "zramfs 1.0" "zramfs manual"' in page
    assert "zramfs\\-verb \\- does it" in page
    assert "\\fBzramfs verb\\fR [OPTIONS] WHERE" in page
    assert ".TP\n\\fB\\-\\-how TEXT\\fR\n" in page


def test_letters_of_roff_are_escaped() -> None:
    page = pages(program, "1.0", DAY)["zramfs-verb"]
    assert "\\(aqTis how: \\efast, or \\-slowly." in page
    assert "\n\\&.PP is no request here." in page


def test_every_verb_has_a_page_that_the_first_one_names() -> None:
    made = pages(zramfs, "1.0", DAY)
    with click.Context(zramfs) as ctx:
        verbs = zramfs.list_commands(ctx)
    assert set(made) == {"zramfs", *(f"zramfs-{name}" for name in verbs)}
    assert all(f"zramfs\\-{name}\\fR(1)" in made["zramfs"] for name in verbs)


def test_columns_of_status_are_in_its_page() -> None:
    page = pages(zramfs, "1.0", DAY)["zramfs-status"]
    assert ".SH COLUMNS\n" in page
    assert ".TP\n\\fBZERO\\-PAGES\\fR\npages filled with one value" in page


def test_examples_fit_into_80_columns() -> None:
    lines = [line for page in pages(zramfs, "1.0", DAY).values() for line in page.splitlines()]
    inside = False
    for line in lines:
        inside = line == ".nf" or (inside and line != ".fi")
        assert not inside or len(line.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", " ")) <= 69, line


def test_subcommands_are_in_the_page_of_their_verb() -> None:
    page = pages(zramfs, "1.0", DAY)["zramfs-swap"]
    assert ".SS zramfs swap on" in page
    assert "\\-\\-priority" in page


@pytest.mark.parametrize("command", [("mandoc", "-T", "lint"), ("man", "--warnings", "--local-file")])
def test_those_who_show_the_pages_have_no_warning(tmp_path: Path, command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    for name, text in pages(zramfs, "1.0", DAY).items():
        (tmp_path / f"{name}.1").write_text(text)
    done = subprocess.run([*command, *tmp_path.iterdir()], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "WARNING" not in done.stdout
    assert "ERROR" not in done.stdout
