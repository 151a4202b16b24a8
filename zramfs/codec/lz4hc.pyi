from zramfs.codec.run import PageCodec

class Lz4hcDictionary:
    def __init__(self, content: bytes, level: int) -> None: ...

class Lz4hcCodec(PageCodec):
    level: int
    def __init__(self, level: int, dictionary: Lz4hcDictionary | None = None) -> None: ...
