"""Runs the system's programs for the verbs that need them."""

import subprocess

from zramfs.errors import CommandFailed


def run_command(*command: str) -> str:
    """Run a program and return what it prints; CommandFailed has its last line if it is missing or fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CommandFailed(f"{command[0]} is missing: install the package that has it") from error
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"{command[0]} failed with exit code {result.returncode}"]
        raise CommandFailed(lines[-1])
    return result.stdout.strip()
