from typing import final

@final
class Entries:
    count: int
    def __init__(self, count: int) -> None: ...
    @property
    def memory_bytes(self) -> int: ...
