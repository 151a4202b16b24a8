"""`zramfs completion`: the script by which a shell completes zramfs's command lines, click's own."""

from typing import Final

import click
from click.shell_completion import get_completion_class

_SHELLS: Final = ("bash", "zsh", "fish")
_VARIABLE: Final = "_ZRAMFS_COMPLETE"


@click.command(short_help="Print the script that completes command lines.")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes verbs, options, mount points, devices, profiles and algorithms.

    For this session: eval "$(zramfs completion bash)", the same with zsh, or: zramfs completion fish | source. That
    line at the end of ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish is for all sessions.
    """
    root = ctx.find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    click.echo(kind(root.command, {}, "zramfs", _VARIABLE).source())
