from collections.abc import Mapping

from zramfs.codec.run import PageCodec
from zramfs.streams import StreamManager
from zramfs.units import BytesLike

def exercise(
    manager: StreamManager, source: BytesLike, codec: PageCodec, *, rounds: int, most_pages: int, depth: int, seed: int
) -> Mapping[str, int]: ...
