"""What the example package would be if its author had not read the contract: three backends, each with one fault."""

from dataclasses import replace
from typing import Final

from zramfs_zlib import ZlibBackend, ZlibStream, ZlibStreams

from zramfs.backends import checked
from zramfs.contracts import Accelerator, AlgorithmParams, BackendParams
from zramfs.units import BytesLike

checked.TICK_S = 0.05  # tests have less time than users


class MiscountingStream(ZlibStream):
    """Says that it took a page more than it did."""

    def submit(self, source: BytesLike, offset: int, pages: int) -> int:
        return super().submit(source, offset, pages) + 1


class SilentStream(ZlibStream):
    """Is never complete."""

    def complete(self) -> None:
        pass


class PromisingStreams(ZlibStreams):
    """Has writes polled and waited for, and no stream to give."""

    def get_stream(self) -> None:
        return None

    def can_poll(self, pages: int) -> bool:
        del pages
        return True

    def should_wait(self) -> bool:
        return True

    def when_free(self, callback: object) -> None:
        pass


class HostileBackend(ZlibBackend):
    """zlib with a manager of `manager_class`, whose streams are of `stream_class`."""

    def __init__(
        self, name: str, manager_class: type[ZlibStreams] = ZlibStreams, stream_class: type[ZlibStream] = ZlibStream
    ) -> None:
        self.name = name
        self._manager_class = manager_class
        self._stream_class = stream_class

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        params = BackendParams(algorithm=self.resolve_params(requested))
        if accelerator is None:
            return params
        manager = self._manager_class(lambda: self.create_context(params))
        manager._streams = [self._stream_class(manager, self.create_context(params)) for _ in range(16)]
        manager._free = list(manager._streams)
        manager.polled_run_pages = 32
        return replace(params, manager=manager)


MISCOUNTING: Final = HostileBackend("miscounting", stream_class=MiscountingStream)
SILENT: Final = HostileBackend("silent", stream_class=SilentStream)
PROMISING: Final = HostileBackend("promising", PromisingStreams)
