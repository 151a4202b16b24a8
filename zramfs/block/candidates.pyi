from zramfs.block.slots import SlotTable

class Candidates:
    def __init__(self, table: SlotTable) -> None: ...
    def add_some(
        self,
        page: int,
        end: int,
        *,
        idle: bool = False,
        huge: bool = False,
        incompressible: bool = False,
        below_priority: int = -1,
    ) -> int: ...
    def next(self) -> int | None: ...
    def __len__(self) -> int: ...
