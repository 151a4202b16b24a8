"""What references of LZ4 in Python have in common: the format's sequences, and pages to compress."""

from collections.abc import Iterator

PAGE = 4096


def sequence(literals: bytes, distance: int = 0, match_bytes: int = 0) -> bytes:
    """Encode literals and the match behind them, as doc/lz4_Block_format.md says; the last one has no match."""

    def half(length: int) -> tuple[int, bytes]:
        rest = length - 15
        return (length, b"") if rest < 0 else (15, b"\xff" * (rest // 255) + bytes([rest % 255]))

    count, more_count = half(len(literals))
    if not match_bytes:
        return bytes([count << 4]) + more_count + literals
    length, more_length = half(match_bytes - 4)
    return bytes([count << 4 | length]) + more_count + literals + distance.to_bytes(2, "little") + more_length


def pages_of(data: bytes) -> Iterator[bytes]:
    for offset in range(0, len(data) - PAGE + 1, PAGE):
        yield data[offset : offset + PAGE]
