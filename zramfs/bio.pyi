class WriteBio:
    offset_bytes: int
    data: bytes
    is_async: bool
    def __init__(self, offset_bytes: int, data: bytes, is_async: bool) -> None: ...
