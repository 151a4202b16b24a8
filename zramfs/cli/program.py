"""The verbs of `zramfs`, run: every error is one line on stderr, with exit code 1, or 2 for bad usage."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from zramfs import __version__
from zramfs.cli.lifetime import keep_what_is_loaded
from zramfs.cli.mount_helper import is_call_of_mount, translate
from zramfs.cli.verb_names import ALIASES, VERBS, VerbGroup, explain_usage
from zramfs.errors import ZramError
from zramfs.foreign import printable

_FAILED: Final = 1
_BAD_USAGE: Final = 2
_INTERRUPTED: Final = 130


class _Verbs(VerbGroup):
    """Imports only the verb that is used: mounting needs trio and pyfuse3, others start in a third of the time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs in the order in which one meets them."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the verb's file, which has a command of the same name."""
        del ctx
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            return None
        command: click.Command = getattr(import_module(f"zramfs.cli.{name}"), name)
        return command


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    no_args_is_help=False,
)
@click.version_option(__version__, prog_name="zramfs")
def zramfs() -> None:
    """Mount compressed RAM disks: zram in user space."""
    keep_what_is_loaded()


def run(program: str, given: list[str]) -> int:
    """Run a verb, turn what it raises into a line, and return the exit code."""
    try:
        arguments = translate(given) if is_call_of_mount(given, program) else given
        if not arguments and given:  # mount(8) only pretends to mount
            return 0
        exit_code = int(zramfs.main(arguments, prog_name="zramfs", standalone_mode=False) or 0)
        sys.stdout.flush()  # a full disk is an error, and no end of a process tells of it
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "zramfs"
        return _complain(f"{where}: {explain_usage(error)} (see: {where} --help)", _BAD_USAGE)
    except click.Abort:
        return _INTERRUPTED
    except BrokenPipeError:
        return _FAILED
    except (ZramError, ImportError, OSError) as error:
        return _complain(f"zramfs: {_explain(error)}", _FAILED)
    return exit_code


def _explain(error: ZramError | ImportError | OSError) -> str:
    if isinstance(error, ImportError):
        from zramfs.libraries import explain_import_error  # noqa: PLC0415 - only where it is used

        return explain_import_error(error)
    if isinstance(error, OSError):
        return _explain_os_error(error)
    return str(error)


def _explain_os_error(error: OSError) -> str:
    if error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, FileNotFoundError) and not _has_working_directory():
        return "the working directory has been removed: go to another one"
    return error.strerror or str(error)


def _has_working_directory() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _complain(text: str, exit_code: int) -> int:
    """Print one line, which steers no terminal: a mount may be somebody else's."""
    print(printable(" ".join(text.split())), file=sys.stderr)
    return exit_code
