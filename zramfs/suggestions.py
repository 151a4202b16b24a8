"""What somebody may have meant who misspelt a name: one sentence for a line of error."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean X?`` if a known name is like the word, and then, or else alone, ``there are A, B, C``."""
    names = list(known)
    close = get_close_matches(word, names, n=1)
    listed = f"there are {', '.join(names)}"
    return f"did you mean {close[0]}? {listed[0].upper()}{listed[1:]}" if close else listed
