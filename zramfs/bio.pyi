from zramfs.units import BytesLike

class WriteBio:
    offset_bytes: int
    data: BytesLike
    is_async: bool
    def __init__(self, offset_bytes: int, data: BytesLike, is_async: bool) -> None: ...
