"""The lz4 backend: the kernel's default compressor, and the one that manages streams when it has an accelerator."""

import logging
from typing import Final

from zramfs.codec.lz4 import Lz4Codec
from zramfs.contracts import Accelerator, Backend, BackendParams
from zramfs.errors import AcceleratorUnavailable, InvalidValue

_log: Final = logging.getLogger(__name__)

_MAX_ACCELERATION: Final = 65537  # LZ4_ACCELERATION_MAX


class Lz4Backend(Backend):
    """LZ4 blocks. `level` is the acceleration: 1 (the default, as the kernel's) compresses best."""

    name = "lz4"
    default_level = 1

    def setup_params(self, *, level: int | None, accelerator: Accelerator | None) -> BackendParams:
        """Fix the acceleration and attach the accelerator; without one the streams are per-CPU only."""
        acceleration = self.default_level if level is None else level
        if not 1 <= acceleration <= _MAX_ACCELERATION:
            raise InvalidValue(f"lz4 level {acceleration} is not an acceleration of 1 to {_MAX_ACCELERATION}")
        if accelerator is None:
            return BackendParams(level=acceleration)
        try:
            manager = accelerator.attach(lambda: Lz4Codec(acceleration))
        except AcceleratorUnavailable as error:
            _log.warning("%s: per-CPU streams only", error)
            return BackendParams(level=acceleration, manager_error=str(error))
        return BackendParams(level=acceleration, manager=manager)

    def release_params(self, params: BackendParams) -> None:
        """Stop the accelerator."""
        if params.manager is not None:
            params.manager.close()

    def create_context(self, params: BackendParams) -> Lz4Codec:
        """Hash-table memory of one stream."""
        return Lz4Codec(params.level)


LZ4: Final = Lz4Backend()
