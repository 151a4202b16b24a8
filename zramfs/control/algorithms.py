"""What compresses the pages of a device: the primary algorithm, those to recompress with, and their parameters."""

from pathlib import Path
from typing import Final

import trio

from zramfs.backends.registry import backend_names, load_backend
from zramfs.contracts import AlgorithmParams, Attribute, Backend, ControlTree
from zramfs.control.modes import READ_ONLY, READ_WRITE, WRITE_ONLY
from zramfs.control.values import choice, parse_int, parse_name, parse_parameters, parse_path
from zramfs.device.algorithms import PRIMARY, PRIORITIES
from zramfs.device.device import ZramDevice
from zramfs.errors import DeviceBusy, InvalidValue
from zramfs.foreign import printable

_SECONDARY: Final = 1  # ZRAM_SECONDARY_COMP


class AlgorithmAttributes:
    """Algorithms by priority. Each `store_…` takes the text of one write(2); errors carry their errno."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device
        self._dictionary_threads = trio.CapacityLimiter(1)

    def tree(self) -> ControlTree:
        """Return the family's files."""
        return {
            "comp_algorithm": Attribute(
                mode=READ_WRITE, show=self.show_comp_algorithm, store=self.store_comp_algorithm
            ),
            "recomp_algorithm": Attribute(
                mode=READ_WRITE, show=self.show_recomp_algorithm, store=self.store_recomp_algorithm
            ),
            "algorithm_params": Attribute(mode=WRITE_ONLY, store_at=self.store_algorithm_params),
            "algorithm_stat": Attribute(mode=READ_ONLY, show=self.show_algorithm_stat),
        }

    def show_comp_algorithm(self) -> str:
        """zcomp_available_show: each name with a blank behind it."""
        return _available(self._device.settings.backend)

    async def store_comp_algorithm(self, text: str) -> None:
        """comp_algorithm_store: a known name; EBUSY once initialised."""
        self._device.settings.set_backend(load_backend(parse_name(text)))

    def show_recomp_algorithm(self) -> str:
        """recomp_algorithm_show: a line for each priority that has an algorithm."""
        backends = self._device.settings.algorithms.backends.items()
        return "".join(f"#{priority}: {_available(backend)}" for priority, backend in backends if priority != PRIMARY)

    async def store_recomp_algorithm(self, text: str) -> None:
        """recomp_algorithm_store: `algo=`, and `priority=` 1 (the default) to 3; EBUSY once initialised."""
        values = _named_values(text)
        priority = parse_int(values.get("priority", f"{_SECONDARY}"))
        if "algo" not in values:
            raise InvalidValue(f"{text!r} names no algo")
        if priority == PRIMARY or priority not in PRIORITIES:
            raise InvalidValue(f"{priority} is not a priority from {_SECONDARY} to {PRIORITIES[-1]}")
        self._device.settings.set_backend(load_backend(parse_name(values["algo"])), priority)

    async def store_algorithm_params(self, text: str, folder: str = "") -> None:
        """algorithm_params_store: all parameters of one priority at once; what is not given is the default again.

        Used when the device is initialised: until then nothing tells whether the algorithm can take them
        (zcomp_create). A dictionary is read now, once everything else is known to be right; `folder` is where its path
        begins if it is relative.
        """
        values = _named_values(text)
        level, winbits = _optional_int(values.get("level")), _optional_int(values.get("deflate.winbits"))
        priority = parse_int(values["priority"]) if "priority" in values else None
        if self._device.settings.abi.fixes_params_at_init and self._device.is_initialised:
            raise DeviceBusy(f"{self._device.name} is initialised: its parameters cannot change")
        priority = self._priority(values.get("algo"), priority)
        dictionary_path = parse_path(values["dict"], folder) if "dict" in values else ""
        params = AlgorithmParams(
            level=level,
            winbits=winbits,
            dictionary_path=dictionary_path,
            dictionary=await self._read_dictionary(dictionary_path) if dictionary_path else b"",
        )
        self._device.settings.algorithms.set_params(priority, params)

    def _priority(self, name: str | None, priority: int | None) -> int:
        """Return which priority is meant by `algo=` and `priority=`, either or both; InvalidValue if there is none."""
        algorithms = self._device.settings.algorithms
        if name is None:
            return algorithms.require(PRIMARY if priority is None else priority)
        if priority is None or not self._device.settings.abi.checks_priority_of_algo:
            return algorithms.priority_of(name)
        return algorithms.require_named(priority, name)

    async def _read_dictionary(self, path: str) -> bytes:
        """Read a file in a thread: it may be one of this mount, for which we answer, or of a server that hangs."""
        try:
            return await trio.to_thread.run_sync(
                _read_file, Path(path), abandon_on_cancel=True, limiter=self._dictionary_threads
            )
        except (OSError, ValueError) as error:
            raise InvalidValue(f"cannot read the dictionary {path!r}: {error}") from error

    def show_algorithm_stat(self) -> str:
        """Ours: priority, algorithm and parameters a line; with the defaults once the device is initialised."""
        active, algorithms = self._device.active_algorithms, self._device.settings.algorithms
        return "".join(
            f"{priority} {backend.name}"
            f"{_describe(active[priority].params.algorithm if active else algorithms.params(priority))}\n"
            for priority, backend in algorithms.backends.items()
        )


def _available(chosen: Backend) -> str:
    return choice(backend_names(), chosen.name) + " \n"


def _named_values(text: str) -> dict[str, str]:
    """Read `name=value` words; of a name that comes twice the last one counts. InvalidValue where there is no value."""
    values: dict[str, str] = {}
    for name, value in parse_parameters(text):
        if not value:
            raise InvalidValue(f"{name!r} has no value")
        values[name] = value
    return values


def _optional_int(text: str | None) -> int | None:
    return None if text is None else parse_int(text)


def _read_file(path: Path) -> bytes:
    if not path.is_file():  # a pipe or a terminal would give nothing, and never end
        raise InvalidValue(f"the dictionary {str(path)!r} is not a file")
    if path.stat().st_size == 0:  # nor does the kernel read files that do not tell their size (kernel_read_file)
        raise InvalidValue(f"the dictionary {str(path)!r} is empty")
    return path.read_bytes()


def _describe(params: AlgorithmParams) -> str:
    """What is set, each as `algorithm_params` takes it, with a blank before it."""
    named = {
        "level": params.level,
        "deflate.winbits": params.winbits,
        "dict": printable(params.dictionary_path).replace("\n", "\\n") or None,
    }
    return "".join(f" {name}={value}" for name, value in named.items() if value is not None)
