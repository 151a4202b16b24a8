"""Recompression: which pages, and by which of the secondary algorithms."""

from collections.abc import Mapping
from typing import Final

from zramfs.contracts import Attribute, Backend, ControlTree
from zramfs.control.modes import WRITE_ONLY
from zramfs.control.values import parse_parameters, parse_unsigned
from zramfs.device.device import ZramDevice
from zramfs.device.recompression import Recompression
from zramfs.errors import InvalidValue, NotInitialised
from zramfs.pool.size_classes import HUGE_CLASS_BYTES
from zramfs.suggestions import did_you_mean

_U32_MAX: Final = (1 << 32) - 1
_U64_MAX: Final = (1 << 64) - 1

_FIRST: Final = 1  # ZRAM_SECONDARY_COMP

_MODES: Final = ("idle", "huge", "huge_idle")


class RecompressAttributes:
    """The knob of recompression."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {"recompress": Attribute(mode=WRITE_ONLY, store=self.store_recompress)}

    async def store_recompress(self, text: str) -> None:
        """recompress_store: `type= max_pages= threshold= algo= priority=`, each with a value; others are ignored."""
        words = dict(_words_with_values(text))
        threshold_bytes = parse_unsigned(words.get("threshold", "0"), most=_U32_MAX)
        most_pages = parse_unsigned(words.get("max_pages", str(_U64_MAX)), most=_U64_MAX)
        chosen = parse_unsigned(words["priority"], most=_U32_MAX) if "priority" in words else None
        if threshold_bytes >= HUGE_CLASS_BYTES:
            raise InvalidValue(f"a threshold of {threshold_bytes} is not less than {HUGE_CLASS_BYTES}")
        if not self._device.is_initialised:
            raise NotInitialised(f"{self._device.name} is not initialised")
        mode = words.get("type", "")
        abi = self._device.settings.abi
        if abi.checks_recompress_type and "type" in words and mode not in _MODES:
            raise InvalidValue(f"{mode!r} is not a type of recompression: {did_you_mean(mode, _MODES)}")
        priorities = _one_priority if abi.recompresses_by_one else _priorities
        first, end = priorities(self._device.settings.secondaries, chosen, words.get("algo"))
        await self._device.upkeep.recompress(
            Recompression(
                first_priority=first,
                end_priority=end,
                idle=mode in ("idle", "huge_idle"),
                huge=mode in ("huge", "huge_idle"),
                threshold_bytes=threshold_bytes,
                most_pages=most_pages,
            )
        )


def _words_with_values(text: str) -> list[tuple[str, str]]:
    words = [(name, value) for name, value in parse_parameters(text) if value]
    if len(words) != len(text.split()):
        raise InvalidValue("each word of recompress is name=value")
    return words


def _one_priority(secondaries: Mapping[int, Backend], chosen: int | None, name: str | None) -> tuple[int, int]:
    """Return the priority to try, as one before the next: #1 unless told otherwise; InvalidValue if that is none."""
    named = [each for each in sorted(secondaries) if name in (None, secondaries[each].name)]
    if chosen is None:
        chosen = named[0] if named and name is not None else _FIRST
    if chosen not in named:
        raise InvalidValue("there is no such algorithm of recompression")
    return chosen, chosen + 1


def _priorities(secondaries: Mapping[int, Backend], chosen: int | None, name: str | None) -> tuple[int, int]:
    """Return the first priority to try, and the one behind the last; InvalidValue if there is none to try.

    Until Linux 7.1: a priority too small is taken for the first.
    """
    first = max(chosen or _FIRST, _FIRST)
    end = max(secondaries, default=0) + 1
    if chosen is not None:
        end = min(end, first + 1)
    if name is not None:
        named = [
            priority for priority in sorted(secondaries) if priority >= first and secondaries[priority].name == name
        ]
        if not named:
            raise InvalidValue(f"{name!r} is not an algorithm of recompression")
        first, end = named[0], named[0] + 1
    if first >= end:
        raise InvalidValue("there is no such algorithm of recompression")
    return first, end
