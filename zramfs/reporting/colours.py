"""The plots' colours: each stands for one thing in all of them. Blues are the host's CPUs, oranges the device."""

from colorsys import hls_to_rgb
from typing import Final

HOST: Final = "#2563a8"
"""What the host's CPUs do themselves: serving, per-CPU streams, submission."""

HOST_INSTEAD: Final = "#8fb8e8"
"""What they do because the device could not take it."""

OTHER: Final = "#a0aec0"
"""CPU time of neither."""

DEVICE: Final = "#e08a1e"
"""The device: its work, its pages, its queue, and the time that requests wait for it."""

REPLY: Final = "#4a5568"
"""The way back."""

IN_HAND: Final = "#e2e8f0"
"""Pages of requests, wherever they are."""

THINGS: Final = (HOST, HOST_INSTEAD, OTHER, DEVICE, REPLY, IN_HAND)

_HUES: Final = (0.40, 0.83, 0.97, 0.16, 0.49, 0.72, 0.27, 0.90)
"""Greens, purples, reds: no blue and no orange, which are things."""

_LIGHTNESSES: Final = (0.34, 0.56, 0.44, 0.68)


def setting_colours(count: int) -> list[str]:
    """Return a colour for each of up to 32 settings, all different, and none that stands for a thing."""
    return [_hex(_HUES[number % len(_HUES)], _LIGHTNESSES[number // len(_HUES)]) for number in range(count)]


def _hex(hue: float, lightness: float) -> str:
    return "#" + "".join(f"{round(255 * each):02x}" for each in hls_to_rgb(hue, lightness, 0.55))
