"""The verbs by name, and what somebody may have meant who misspelt one, or an option. Nothing heavy is imported."""

from collections.abc import Iterable
from typing import Final

import click

from zramfs.suggestions import did_you_mean

VERBS: Final = (
    "mount",
    "umount",
    "status",
    "top",
    "metrics",
    "run",
    "exec",
    "loop",
    "swap",
    "accel",
    "compare",
    "simulate",
    "man",
    "completion",
    "help",
)
"""In the order in which one meets them."""

ALIASES: Final = {"unmount": "umount"}


def explain_usage(error: click.UsageError) -> str:
    """Return what is wrong with a command line; of a name that is unknown, what may have been meant."""
    if isinstance(error, click.NoSuchOption):
        meant = f"; did you mean {error.possibilities[0]}?" if error.possibilities else "."
        return f"No such option {error.option_name}{meant}"
    return error.format_message()


def unknown_verb(name: str, known: Iterable[str], ctx: click.Context | None = None) -> click.UsageError:
    """Return the error of a verb that is not there."""
    return click.UsageError(f"There is no verb {name!r}; {did_you_mean(name, known)}.", ctx)


class VerbGroup(click.Group):
    """Verbs; a misspelt one is told what it may have meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise unknown_verb(args[0], self.list_commands(ctx), ctx)
        return super().resolve_command(ctx, args)
