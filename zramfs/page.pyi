from typing import Final

PAGE_BYTES: Final[int]
