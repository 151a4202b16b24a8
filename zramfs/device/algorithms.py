"""The algorithms of a device, as in zram_drv.c's comp_algs: one that compresses each write, and up to three others.

The number of an algorithm is its *priority*: 0 is the primary one (`comp_algorithm`), 1 to 3 are those that pages can
be recompressed with (`recomp_algorithm`). Parameters belong to a priority, whichever algorithm has it
(`algorithm_params`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from zramfs.backends.checked import checked
from zramfs.block.slots import Codecs
from zramfs.codec.run import PageCodec
from zramfs.contracts import AlgorithmParams, Backend, BackendParams
from zramfs.errors import InvalidValue

PRIMARY: Final = 0
PRIORITIES: Final = range(4)  # ZRAM_MAX_COMPS

_DEFAULTS: Final = AlgorithmParams()


@dataclass(frozen=True, slots=True)
class ActiveAlgorithm:
    """An algorithm of an initialised device: set up, with a context for the event loop's channel."""

    backend: Backend
    params: BackendParams
    codec: PageCodec

    def create_codec(self) -> PageCodec:
        """Make a context for another channel, which gives the same pages."""
        return self.backend.create_context(self.params)


class Algorithms:
    """What is chosen for a device, and kept until its reset. `primary` is the one it starts with."""

    def __init__(self, primary: Backend) -> None:
        self._default = primary
        self.reset()

    def reset(self) -> None:
        """Only the primary one, the default, and no parameters."""
        self._backends = {PRIMARY: self._default}
        self._params: dict[int, AlgorithmParams] = {}

    @property
    def backends(self) -> Mapping[int, Backend]:
        """Those chosen, by priority, in its order."""
        return dict(sorted(self._backends.items()))

    def params(self, priority: int) -> AlgorithmParams:
        """What the algorithm of this priority is asked for."""
        return self._params.get(priority, _DEFAULTS)

    def choose(self, priority: int, backend: Backend) -> None:
        """Give the priority to an algorithm."""
        self.require(priority)
        self._backends[priority] = backend

    def set_params(self, priority: int, params: AlgorithmParams) -> None:
        """Ask the algorithm that has the priority, or will have it, for exactly these parameters."""
        self.require(priority)
        self._params[priority] = params

    def priority_of(self, name: str) -> int:
        """Return the first priority of an algorithm; InvalidValue if it is not chosen for the device."""
        for priority, backend in self.backends.items():
            if backend.name == name:
                return priority
        raise InvalidValue(f"{name!r} is not an algorithm of this device")

    def require_named(self, priority: int, name: str) -> int:
        """Return the priority if the algorithm of this name has it; InvalidValue if not."""
        backend = self._backends.get(priority)
        if backend is None or backend.name != name:
            raise InvalidValue(f"#{priority} is not {name!r}")
        return priority

    def activate_secondaries(self) -> dict[int, ActiveAlgorithm]:
        """Set the secondary ones up, by priority; InvalidValue for parameters that one of them cannot take."""
        active: dict[int, ActiveAlgorithm] = {}
        try:
            for priority, backend in self.backends.items():
                if priority != PRIMARY:
                    active[priority] = _activate(backend, self.params(priority))
        except BaseException:
            release_secondaries(active)
            raise
        return active

    @staticmethod
    def require(priority: int) -> int:
        """Return the priority if there can be such a one; InvalidValue if not."""
        if priority not in PRIORITIES:
            raise InvalidValue(f"{priority} is not a priority from {PRIORITIES[0]} to {PRIORITIES[-1]}")
        return priority

    def __repr__(self) -> str:
        chosen = ", ".join(f"#{priority}: {backend.name}" for priority, backend in self.backends.items())
        return f"<Algorithms {chosen}>"


def codecs_of_channels(algorithms: Mapping[int, ActiveAlgorithm], channels: int) -> list[Codecs]:
    """Make what decompresses on each channel; codecs in Python are the event loop's, as all requests then are."""
    own = {priority: each.codec for priority, each in algorithms.items()}
    made = [_codecs(own)]
    while len(made) < channels:
        made.append(
            made[0] if made[0].needs_gil else _codecs({p: each.create_codec() for p, each in algorithms.items()})
        )
    return made


def _codecs(by_priority: Mapping[int, PageCodec]) -> Codecs:
    others = {priority: codec for priority, codec in by_priority.items() if priority != PRIMARY}
    return Codecs(by_priority[PRIMARY], others)


def release_secondaries(active: Mapping[int, ActiveAlgorithm]) -> None:
    """Undo `activate_secondaries`, when no context is in use any more. The primary one is the streams' to release."""
    for priority, algorithm in active.items():
        if priority != PRIMARY:
            algorithm.backend.release_params(algorithm.params)


def _activate(backend: Backend, requested: AlgorithmParams) -> ActiveAlgorithm:
    """Set an algorithm up without the accelerator: recompression is the CPU's."""
    backend = checked(backend)
    params = backend.setup_params(requested, accelerator=None)
    try:
        return ActiveAlgorithm(backend, params, backend.create_context(params))
    except BaseException:
        backend.release_params(params)
        raise
