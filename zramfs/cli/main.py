"""The `zramfs` command: every error is one line on stderr, with exit code 1, or 2 for bad usage."""

import sys
from typing import Final

import click

from zramfs import __version__
from zramfs.cli.accel import accel
from zramfs.cli.loop import loop
from zramfs.cli.mount import mount
from zramfs.cli.status import status
from zramfs.cli.swap import swap
from zramfs.cli.umount import umount
from zramfs.errors import ZramError

_FAILED: Final = 1
_BAD_USAGE: Final = 2
_INTERRUPTED: Final = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, no_args_is_help=False)
@click.version_option(__version__, prog_name="zramfs")
def zramfs() -> None:
    """Mount compressed RAM disks: zram in user space."""


for verb in (mount, umount, status, loop, swap, accel):
    zramfs.add_command(verb)


def main() -> None:
    """Run a verb, and turn what it raises into a line and an exit code."""
    sys.exit(_run())


def _run() -> int:
    try:
        return int(zramfs.main(standalone_mode=False) or 0)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "zramfs"
        return _complain(f"{where}: {_one_line(error.format_message())} (see: {where} --help)", _BAD_USAGE)
    except click.Abort:
        return _INTERRUPTED
    except BrokenPipeError:
        return _FAILED
    except ZramError as error:
        return _complain(f"zramfs: {_one_line(str(error))}", _FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"zramfs: {where}{error.strerror}", _FAILED)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _complain(line: str, exit_code: int) -> int:
    print(line, file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    main()
