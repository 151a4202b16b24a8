"""What tests of streams share."""

import trio

from zramfs.streams import Stream


async def completed(stream: Stream) -> None:
    """Return when the stream's run is complete."""
    done = trio.Event()
    stream.when_complete(done.set)
    await done.wait()
