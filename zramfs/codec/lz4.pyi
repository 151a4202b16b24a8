from zramfs.codec.run import PageCodec

MAX_ACCELERATION: int

class Lz4Dictionary:
    def __init__(self, content: bytes) -> None: ...

class Lz4Codec(PageCodec):
    acceleration: int
    def __init__(self, acceleration: int = 1) -> None: ...

class Lz4DictionaryCodec(PageCodec):
    acceleration: int
    def __init__(self, dictionary: Lz4Dictionary, acceleration: int = 1) -> None: ...
