"""`zramfs help`: what `--help` of a verb prints."""

import click

from zramfs.cli.completing import complete_verb
from zramfs.cli.verb_names import unknown_verb


@click.command(short_help="Show how a verb is used.")
@click.argument("verb", nargs=-1, shell_complete=complete_verb)
@click.pass_context
def help(ctx: click.Context, verb: tuple[str, ...]) -> None:  # noqa: A001 - the verb's name
    """Show how VERB is used, such as `help loop attach`; without one, all verbs."""
    shown = ctx.find_root()
    for name in verb:
        group = shown.command
        known = group.list_commands(shown) if isinstance(group, click.Group) else []
        command = group.get_command(shown, name) if isinstance(group, click.Group) else None
        if not known:
            raise click.UsageError(f"{shown.command_path!r} has no verbs, and {name!r} is one too many.")
        if command is None:
            raise unknown_verb(name, known, shown)
        shown = click.Context(command, info_name=name, parent=shown)
    click.echo(shown.get_help())
