from zramfs.codec.run import PageCodec

class LzoCodec(PageCodec):
    def __init__(self) -> None: ...
