"""The modes that attributes have, as the kernel's macros give them."""

from typing import Final

READ_ONLY: Final = 0o444  # DEVICE_ATTR_RO
WRITE_ONLY: Final = 0o200  # DEVICE_ATTR_WO
ROOT_READ_WRITE: Final = 0o600
ROOT_READ_ONLY: Final = 0o400  # hot_add, whose reading changes something; debugfs
READ_WRITE: Final = 0o644  # DEVICE_ATTR_RW
