"""What somebody may have meant who misspelt a name: one sentence for a line of error."""

from collections.abc import Iterable
from typing import Final

_MOST_LISTED: Final = 30
"""More names make a line that nobody reads."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean X?`` if a known name is like the word, and then, or else alone, ``there are A, B, C``.

    Of more than 30 names only one that is like it is told, or that there is none.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - every verb's start would pay for it

    names = list(known)
    close = get_close_matches(word, names, n=1)
    if len(names) > _MOST_LISTED:
        return f"did you mean {close[0]}?" if close else "nothing is like it"
    listed = f"there are {', '.join(names)}"
    return f"did you mean {close[0]}? {listed[0].upper()}{listed[1:]}" if close else listed
