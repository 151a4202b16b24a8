from zramfs.codec.run import PageCodec

class LzoCodec(PageCodec):
    zero_runs: bool
    def __init__(self, *, zero_runs: bool = False) -> None: ...
