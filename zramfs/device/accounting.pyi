class OperationCount:
    ios: int
    sectors: int
    time_ns: int
    @property
    def time_ms(self) -> int: ...

class IoAccounting:
    read: OperationCount
    write: OperationCount
    discard: OperationCount
    flush: OperationCount
    in_flight: int
    failed_reads: int
    failed_writes: int
    def begin(self) -> int: ...
    def end(self, operation: OperationCount, size_bytes: int, start_ns: int) -> None: ...
    def abandon(self) -> None: ...
    @property
    def busy_ms(self) -> int: ...
