from typing import Final

import trio

from zramfs.backends.promises import Promises
from zramfs.codec.run import PageCodec
from zramfs.streams import StreamManager

TICK_S: Final[float]
LIMIT_S: Final[float]

class CheckedStreams(StreamManager):
    inner: StreamManager
    promises: Promises
    token: trio.lowlevel.TrioToken | None
    in_flight: int
    lost: int
    unfinished: int
    redone_pages: int
    has_ended: bool
    def __init__(self, inner: StreamManager, promises: Promises, codec: PageCodec) -> None: ...
    @property
    def is_idle(self) -> bool: ...
    def tick(self) -> None: ...
    async def await_work(self) -> None: ...
    def end(self) -> None: ...
