"""The `zramfs` command, as a process: loading and ending take most of the time of a short verb (`lifetime`)."""

import sys

from zramfs.cli.lifetime import end, load_what_stays


def main() -> None:
    """Run a verb to the end of the process."""
    load_what_stays()
    from zramfs.cli.program import run  # noqa: PLC0415 - this is the loading

    end(run(sys.argv[0], sys.argv[1:]))


if __name__ == "__main__":
    main()
