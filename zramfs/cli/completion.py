"""`zramfs completion`: the script by which a shell completes zramfs's command lines: click's own, but for bash."""

from typing import Final

import click
from click.shell_completion import BashComplete, get_completion_class

_SHELLS: Final = ("bash", "zsh", "fish")
_VARIABLE: Final = "_ZRAMFS_COMPLETE"


class _BashComplete(BashComplete):
    """Escapes what bash would split, a mount point with a blank for instance; click's script does not.

    A word that begins with a quote takes its completion as it is. A comma, which %q escapes, needs no escape.
    """

    source_template = r"""%(complete_func)s() {
    local answer kind value word=${COMP_WORDS[COMP_CWORD]}
    answer=$(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                if [[ $word != [\'\"]* ]]; then
                    printf -v value %%q "$value"
                    value=${value//'\,'/,}
                fi
                COMPREPLY+=("$value")
                ;;
        esac
    done <<<"$answer"
}
complete -o nosort -F %(complete_func)s %(prog_name)s"""


@click.command(short_help="Print the script that completes command lines.")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes verbs, options, mount points, devices, profiles and algorithms.

    For this session: eval "$(zramfs completion bash)", the same with zsh, or: zramfs completion fish | source. That
    line at the end of ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish is for all sessions.
    """
    root = ctx.find_root()
    kind = _BashComplete if shell == "bash" else get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    click.echo(kind(root.command, {}, "zramfs", _VARIABLE).source())
