"""`zramfs man`: the manual, made from what --help shows and the prose in `manual/`."""

import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from zramfs import __version__
from zramfs.cli.completing import complete_verb
from zramfs.cli.parameters import FilePath
from zramfs.cli.verb_names import VERBS, unknown_verb
from zramfs.errors import CommandFailed
from zramfs.manual.page import page_name, pages


@click.command(short_help="Show the manual page of zramfs, or of a verb.")
@click.argument("verb", required=False, shell_complete=complete_verb)
@click.option(
    "--write",
    "folder",
    metavar="FOLDER",
    type=FilePath(file_okay=False),
    help="Write all pages into this folder, for man(1) to find them.",
)
@click.pass_context
def man(ctx: click.Context, verb: str | None, folder: Path | None) -> None:
    """Show the manual page of zramfs, or of VERB, with the program man.

    --write ~/.local/share/man/man1 lets man find the pages by itself: man zramfs, man zramfs-mount.
    """
    program = ctx.find_root().command
    if not isinstance(program, click.Group):
        raise TypeError("the root of all verbs is a group")
    made = pages(program, __version__, datetime.now(UTC).date())
    if folder is not None:
        _write(made, folder)
        return
    name = page_name(verb) if verb else page_name()
    if name not in made:
        raise unknown_verb(str(verb), VERBS)
    _show(made[name], name)


def _write(made: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (folder / f"{name}.1").write_text(text)


def _show(text: str, name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="zramfs-") as folder:
        page = Path(folder) / f"{name}.1"
        page.write_text(text)
        try:
            result = subprocess.run(["man", "--local-file", str(page)], check=False)
        except FileNotFoundError as error:
            raise CommandFailed("man is missing: install the package man-db, or look at --help") from error
    if result.returncode:
        raise CommandFailed(f"man ended with exit code {result.returncode}")
