"""The attributes of one device, as in /sys/block/zramN (Documentation/admin-guide/blockdev/zram.rst), and ours."""

from collections.abc import Mapping
from dataclasses import asdict, astuple
from functools import partial
from typing import Final

from zramfs.backends.registry import backend_names, load_backend
from zramfs.contracts import Attribute, ControlTree, StreamPolicy
from zramfs.control.values import choice, parse_flag_u16, parse_name, parse_unsigned
from zramfs.device.accounting import OperationCount
from zramfs.device.device import ZramDevice
from zramfs.errors import InvalidValue
from zramfs.units import memparse

READ_ONLY: Final = 0o444
WRITE_ONLY: Final = 0o200
READ_WRITE: Final = 0o644


class DeviceAttributes:
    """Shows and sets what one device has. Each `store_…` takes the text of one write(2); errors carry their errno."""

    def __init__(self, device: ZramDevice) -> None:
        self._device = device

    def tree(self) -> ControlTree:
        """The folder sys/block/zramN."""
        return {
            "disksize": Attribute(mode=READ_WRITE, show=self.show_disksize, store=self.store_disksize),
            "initstate": Attribute(mode=READ_ONLY, show=lambda: f"{self._device.is_initialised:d}\n"),
            "reset": Attribute(mode=WRITE_ONLY, store=self.store_reset),
            "compact": Attribute(mode=WRITE_ONLY, store=self.store_compact),
            "comp_algorithm": Attribute(
                mode=READ_WRITE, show=self.show_comp_algorithm, store=self.store_comp_algorithm
            ),
            "mem_limit": Attribute(mode=WRITE_ONLY, store=self.store_mem_limit),
            "mem_used_max": Attribute(mode=WRITE_ONLY, store=self.store_mem_used_max),
            "mm_stat": Attribute(mode=READ_ONLY, show=self.show_mm_stat),
            "io_stat": Attribute(mode=READ_ONLY, show=self.show_io_stat),
            "debug_stat": Attribute(mode=READ_ONLY, show=lambda: f"version: 1\n{0} {0:8d}\n"),
            "stat": Attribute(mode=READ_ONLY, show=self.show_stat),
            "stream_policy": Attribute(mode=READ_WRITE, show=self.show_stream_policy, store=self.store_stream_policy),
            "stream_stat": Attribute(mode=READ_ONLY, show=self.show_stream_stat),
            "accel": self._accel_tree(),
        }

    def show_disksize(self) -> str:
        """disksize_show: bytes, 0 while uninitialised."""
        return f"{self._device.disksize}\n"

    async def store_disksize(self, text: str) -> None:
        """disksize_store: a size as memparse reads it, not 0; EBUSY once initialised."""
        size_bytes = memparse(text)
        if not size_bytes:
            raise InvalidValue(f"{text!r} is not a disksize")
        self._device.initialise(size_bytes)

    async def store_reset(self, text: str) -> None:
        """reset_store: any u16 but 0; EBUSY while the block file is open."""
        if not parse_flag_u16(text):
            raise InvalidValue("0 does not reset")
        self._device.reset()

    async def store_compact(self, _text: str) -> None:
        """compact_store: any text."""
        await self._device.compact()

    def show_comp_algorithm(self) -> str:
        """zcomp_available_show: each name with a blank behind it."""
        return choice(backend_names(), self._device.backend.name) + " \n"

    async def store_comp_algorithm(self, text: str) -> None:
        """comp_algorithm_store: a known name; EBUSY once initialised."""
        self._device.set_backend(load_backend(parse_name(text)))

    async def store_mem_limit(self, text: str) -> None:
        """mem_limit_store: a size as memparse reads it, 0 for no limit, in any state."""
        limit_bytes = memparse(text)
        if limit_bytes is None:
            raise InvalidValue(f"{text!r} is not a size")
        self._device.set_mem_limit(limit_bytes)

    async def store_mem_used_max(self, text: str) -> None:
        """mem_used_max_store: only 0, and whatever is wrong is EINVAL."""
        if parse_unsigned(text) != 0:
            raise InvalidValue("mem_used_max takes only 0")
        self._device.reset_mem_used_max()

    def show_mm_stat(self) -> str:
        """mm_stat_show: nine numbers, eight wide."""
        return " ".join(f"{value:8d}" for value in astuple(self._device.mm_stat())) + "\n"

    def show_io_stat(self) -> str:
        """io_stat_show: the third number is a literal 0."""
        stat = self._device.io_stat()
        return f"{stat.failed_reads:8d} {stat.failed_writes:8d} 0 {stat.notify_free:8d}\n"

    def show_stat(self) -> str:
        """part_stat_show: 17 numbers of the block layer (Documentation/block/stat.rst); zramfs merges nothing."""
        counts = self._device.accounting
        total_ms = sum(each.time_ms for each in (counts.read, counts.write, counts.discard, counts.flush))
        numbers = [
            *_count_fields(counts.read),
            *_count_fields(counts.write),
            *(counts.in_flight, counts.busy_ms, total_ms),
            *_count_fields(counts.discard),
            *(counts.flush.ios, counts.flush.time_ms),
        ]
        return " ".join(f"{number:8d}" for number in numbers) + "\n"

    def show_stream_policy(self) -> str:
        """Ours: auto, managed or percpu."""
        return choice([policy.value for policy in StreamPolicy], self._device.policy.value) + "\n"

    async def store_stream_policy(self, text: str) -> None:
        """Ours: holds from the next write on, in any state."""
        try:
            policy = StreamPolicy(text.strip())
        except ValueError as error:
            raise InvalidValue(f"{text.strip()!r} is not a stream policy") from error
        self._device.set_policy(policy)

    def show_stream_stat(self) -> str:
        """Ours: pages by kind of stream, and why there are no managed ones, if there should be."""
        lines = key_value_lines(asdict(self._device.stream_statistics()))
        reason = self._device.manager_error
        return lines + (f"managed_error {reason}\n" if reason else "")

    def _accel_tree(self) -> ControlTree:
        """Ours: a file for each of the accelerator's settings, and `stat` with its counters."""
        settings: Mapping[str, int | str] = self._device.accelerator_settings() or {"profile": "none"}
        shown = {key: Attribute(mode=READ_ONLY, show=partial("{}\n".format, value)) for key, value in settings.items()}
        stat = Attribute(mode=READ_ONLY, show=lambda: key_value_lines(self._device.accelerator_statistics()))
        return {**shown, "stat": stat}


def key_value_lines(values: Mapping[str, int | str]) -> str:
    """One `key value` a line."""
    return "".join(f"{key} {value}\n" for key, value in values.items())


def _count_fields(count: OperationCount) -> tuple[int, int, int, int]:
    return count.ios, 0, count.sectors, count.time_ms
