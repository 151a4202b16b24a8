"""The modes that attributes have, as the kernel's macros give them."""

from typing import Final

READ_ONLY: Final = 0o444  # DEVICE_ATTR_RO
WRITE_ONLY: Final = 0o200  # DEVICE_ATTR_WO
READ_WRITE: Final = 0o644  # DEVICE_ATTR_RW
ROOT_READ_ONLY: Final = 0o400  # debugfs_create_file
