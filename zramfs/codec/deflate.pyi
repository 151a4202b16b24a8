from zramfs.codec.run import PageCodec

class DeflateCodec(PageCodec):
    level: int
    winbits: int
    def __init__(self, level: int, winbits: int) -> None: ...
