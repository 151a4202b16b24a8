from zramfs.codec.run import PageCodec

class Lz4Codec(PageCodec):
    acceleration: int
    def __init__(self, acceleration: int = 1) -> None: ...
