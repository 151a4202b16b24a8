"""`zramfs simulate`: streams and devices in virtual time, on any machine."""

from zramfs.simulate.reading import load_grid, load_scenario
from zramfs.simulate.run import run

__all__ = ["load_grid", "load_scenario", "run"]
