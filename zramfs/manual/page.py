"""A verb's manual page: name, synopsis, description and options from click, as `--help` shows them, then prose."""

import inspect
from collections.abc import Iterator
from datetime import date
from importlib.resources import files

import click

from zramfs.manual import roff


def page_name(*verb: str) -> str:
    """Return a page's name, such as zramfs-mount."""
    return "-".join(("zramfs", *verb))


def pages(program: click.Group, version: str, day: date) -> dict[str, str]:
    """Return the pages of a program and of its verbs: their roff by name."""
    with _below(None, program, "zramfs") as root:
        names = program.list_commands(root)
        made = {page_name(): _page(program, root, version, day, names)}
        for name in names:
            verb = program.get_command(root, name)
            if verb is not None and not verb.hidden:
                with _below(root, verb, name) as ctx:
                    made[page_name(name)] = _page(verb, ctx, version, day, [])
    return made


def _below(parent: click.Context | None, command: click.Command, name: str) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _page(command: click.Command, ctx: click.Context, version: str, day: date, names: list[str]) -> str:
    name = page_name(*ctx.command_path.split()[1:])
    return roff.joined(
        [
            f'.TH {name.upper()} 1 {day.isoformat()} "zramfs {version}" "zramfs manual"',
            roff.section("Name"),
            f"{roff.escape(name)} \\- {roff.escape(_summary(command))}",
            roff.section("Synopsis"),
            *_synopsis(command, ctx),
            roff.section("Description"),
            *_paragraphs(command),
            *_options(command, ctx, heading=roff.section("Options")),
            *_commands(command, ctx, own_pages=names),
            *_terms(command),
            *_prose(name),
            roff.section("See also"),
            _see_also(name, names),
        ]
    )


def _summary(command: click.Command) -> str:
    summary = command.get_short_help_str(limit=100).rstrip(".")
    return summary[:1].lower() + summary[1:]


def _synopsis(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """One line for a verb; one for each subcommand of a group."""
    if isinstance(command, click.Group) and ctx.parent is not None:
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            if below is not None:
                with _below(ctx, below, name) as sub:
                    yield from _synopsis(below, sub)
                yield ".br"
        return
    words = " ".join(roff.escape(piece) for piece in command.collect_usage_pieces(ctx))
    yield roff.fill(f"{roff.bold(ctx.command_path)} {words}")


def _paragraphs(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield ".PP"
        yield roff.inline(paragraph)


def _options(command: click.Command, ctx: click.Context, *, heading: str) -> Iterator[str]:
    """Each option as --help has it, with its default."""
    records = [record for each in command.get_params(ctx) if (record := each.get_help_record(ctx)) and record[1]]
    if not records:
        return
    yield heading
    for option, explained in records:
        yield roff.term(roff.bold(option), roff.inline(explained))


def _commands(command: click.Command, ctx: click.Context, *, own_pages: list[str]) -> Iterator[str]:
    """The verbs of the program, which have pages of their own, or the subcommands of a verb with their options."""
    if not isinstance(command, click.Group):
        return
    yield roff.section("Commands")
    for name in command.list_commands(ctx):
        below = command.get_command(ctx, name)
        if below is None or below.hidden:
            continue
        if name in own_pages:
            yield roff.term(f"{roff.bold(page_name(name))}(1)", roff.inline(below.get_short_help_str(limit=100)))
            continue
        with _below(ctx, below, name) as sub:
            yield f".SS {roff.escape(sub.command_path)}"
            yield from _paragraphs(below)
            yield from _options(below, sub, heading=".PP")


def _terms(command: click.Command) -> Iterator[str]:
    """What else --help of this command explains in a list: its `terms` are a heading, a remark, and the list."""
    terms: tuple[str, str, list[tuple[str, str]]] | None = getattr(command, "terms", None)
    if terms is None:
        return
    heading, remark, explained = terms
    yield roff.section(heading)
    yield roff.inline(f"{remark[:1].upper()}{remark[1:]}.")
    for name, text in explained:
        yield roff.term(roff.bold(name), roff.inline(text))


def _prose(name: str) -> Iterator[str]:
    """What has no place in --help: files, examples, exit codes."""
    for file_name in (f"{name}.md", "every-page.md"):
        file = files("zramfs.manual") / "prose" / file_name
        if file.is_file():
            yield from roff.prose(file.read_text())


def _see_also(name: str, names: list[str]) -> str:
    others = [page_name(each) for each in names] or [page_name()]
    return roff.fill(", ".join(f"{roff.bold(other)}(1)" for other in others if other != name))
