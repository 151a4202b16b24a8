"""The lz4 backend: the kernel's matches, or a dictionary; the one that manages streams when it has an accelerator."""

import logging
from dataclasses import replace
from typing import Final, cast

from zramfs.codec.lz4 import MAX_ACCELERATION, Lz4Codec, Lz4Dictionary, Lz4DictionaryCodec
from zramfs.codec.run import PageCodec
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.errors import AcceleratorUnavailable

_log: Final = logging.getLogger(__name__)

_DEFAULT_ACCELERATION: Final = 1  # LZ4_ACCELERATION_DEFAULT


class Lz4Backend(Backend):
    """LZ4 blocks. `level` is the acceleration: 1 (the default, as the kernel's) compresses best.

    The dictionary is raw content. What cannot be is taken for the nearest that can, as the kernel's does.
    """

    name = "lz4"

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        """Fix the acceleration, and attach the accelerator; without one, or with a dictionary, all is per-CPU."""
        params = BackendParams(algorithm=self.resolve_params(requested))
        if requested.dictionary:
            why = "" if accelerator is None else "the accelerator takes no dictionary"
            return replace(params, digest=Lz4Dictionary(requested.dictionary), manager_error=why)
        if accelerator is None:
            return params
        try:
            return replace(params, manager=accelerator.attach(lambda: self.create_context(params)))
        except AcceleratorUnavailable as error:
            _log.warning("%s: per-CPU streams only", error)
            return replace(params, manager_error=str(error))

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Put the default acceleration in."""
        level = _DEFAULT_ACCELERATION if requested.level is None else requested.level
        return replace(requested, level=min(max(level, 1), MAX_ACCELERATION), winbits=None)

    def release_params(self, params: BackendParams) -> None:
        """Stop the accelerator."""
        if params.manager is not None:
            params.manager.close()

    def create_context(self, params: BackendParams) -> PageCodec:
        """Hash-table memory of one stream; with a dictionary, liblz4's."""
        if params.digest is None:
            return Lz4Codec(params.level)
        return Lz4DictionaryCodec(cast("Lz4Dictionary", params.digest), params.level)


LZ4: Final = Lz4Backend()
