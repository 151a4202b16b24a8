"""What the backends' parameters have in common: ranges, and what an algorithm does not have."""

from zramfs.contracts import AlgorithmParams
from zramfs.errors import InvalidValue


def level_within(algorithm: str, requested: AlgorithmParams, *, default: int, least: int, most: int) -> int:
    """Return the level, or the default; InvalidValue if it is not from `least` to `most`."""
    level = default if requested.level is None else requested.level
    if not least <= level <= most:
        raise InvalidValue(f"{algorithm} has no level {level}, but {least} to {most}")
    return level


def refuse_dictionary(algorithm: str, requested: AlgorithmParams) -> None:
    """InvalidValue if there is a dictionary, for an algorithm that takes none."""
    if requested.dictionary or requested.dictionary_path:
        raise InvalidValue(f"{algorithm} takes no dictionary")


def refuse_winbits(algorithm: str, requested: AlgorithmParams) -> None:
    """InvalidValue if there is a window, which only deflate has."""
    if requested.winbits is not None:
        raise InvalidValue(f"{algorithm} has no deflate.winbits")
