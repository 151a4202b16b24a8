"""What `stream_stat` tells of a device's streams."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Pages written by the kind of stream that took them, and the streams there are."""

    percpu_pages: int = 0
    managed_pages: int = 0
    fallback_pages: int = 0
    managed_streams: int = 0
    percpu_streams: int = 0
    inflight: int = 0
    inflight_max: int = 0
