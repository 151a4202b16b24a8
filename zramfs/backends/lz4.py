"""The lz4 backend: the kernel's default compressor, and the one that manages streams when it has an accelerator."""

import logging
from dataclasses import replace
from typing import Final

from zramfs.backends.params import level_within, refuse_dictionary, refuse_winbits
from zramfs.codec.lz4 import Lz4Codec
from zramfs.codec.run import PageCodec
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.errors import AcceleratorUnavailable

_log: Final = logging.getLogger(__name__)

_MAX_ACCELERATION: Final = 65537  # LZ4_ACCELERATION_MAX


class Lz4Backend(Backend):
    """LZ4 blocks. `level` is the acceleration: 1 (the default, as the kernel's) compresses best."""

    name = "lz4"

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        """Fix the acceleration and attach the accelerator; without one the streams are per-CPU only."""
        params = BackendParams(algorithm=self.resolve_params(requested))
        if accelerator is None:
            return params
        try:
            return replace(params, manager=accelerator.attach(lambda: self.create_context(params)))
        except AcceleratorUnavailable as error:
            _log.warning("%s: per-CPU streams only", error)
            return replace(params, manager_error=str(error))

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Put the default acceleration in."""
        refuse_dictionary(self.name, requested)
        refuse_winbits(self.name, requested)
        return AlgorithmParams(level=level_within(self.name, requested, default=1, least=1, most=_MAX_ACCELERATION))

    def release_params(self, params: BackendParams) -> None:
        """Stop the accelerator."""
        if params.manager is not None:
            params.manager.close()

    def create_context(self, params: BackendParams) -> PageCodec:
        """Hash-table memory of one stream."""
        return Lz4Codec(params.level)


LZ4: Final = Lz4Backend()
