"""`zramfs help`: what `--help` of a verb prints."""

import click

from zramfs.cli.verb_names import unknown_verb


@click.command(short_help="Show how a verb is used.")
@click.argument("verb", nargs=-1)
@click.pass_context
def help(ctx: click.Context, verb: tuple[str, ...]) -> None:  # noqa: A001 - the verb's name
    """Show how VERB is used, such as `help loop attach`; without one, all verbs."""
    shown = ctx.find_root()
    for name in verb:
        group = shown.command
        known = group.list_commands(shown) if isinstance(group, click.Group) else []
        command = group.get_command(shown, name) if isinstance(group, click.Group) else None
        if command is None:
            raise unknown_verb(" ".join(verb), known)
        shown = click.Context(command, info_name=name, parent=shown)
    click.echo(shown.get_help())
