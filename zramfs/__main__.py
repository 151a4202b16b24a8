"""`python -m zramfs` is the `zramfs` command."""

from zramfs.cli.main import main

main()
