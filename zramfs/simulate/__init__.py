"""`zramfs simulate`: streams and devices in virtual time, on any machine."""

from zramfs.simulate.run import run

__all__ = ["run"]
