from zramfs.codec.run import PageCodec

class Lz4hcCodec(PageCodec):
    level: int
    def __init__(self, level: int) -> None: ...
