import time
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from zramfs.compare.fresh_mount import Counters, FreshMount
from zramfs.compare.queue_samples import MARK_BYTES, QueueSampler


class Mount:
    """What the sampler needs of a mount, whose queue holds one page more each time it is looked at."""

    def __init__(self, folder: Path) -> None:
        self.block_file = folder / "zram0"
        self.block_file.write_bytes(bytes(MARK_BYTES))
        self._inflight = count(1)

    def accelerator_counters(self) -> Counters:
        return {"inflight": next(self._inflight)}


def test_queue_is_looked_at_again_and_again_from_the_mark_on(tmp_path: Path) -> None:
    mount = Mount(tmp_path)
    try:
        with QueueSampler(cast("FreshMount", mount)) as sampler:
            while len(sampler.samples.pages) < 3:
                time.sleep(0.001)
    except OSError as error:
        pytest.skip(f"no direct I/O in {tmp_path}: {error.strerror}")
    seen = sampler.samples
    assert seen.pages == list(range(1, len(seen.pages) + 1))
    assert seen.at_s == sorted(seen.at_s)
    assert seen.at_s[0] > 0


def test_mount_without_an_accelerator_has_an_empty_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Mount(tmp_path)
    monkeypatch.setattr(mount, "accelerator_counters", dict)
    try:
        with QueueSampler(cast("FreshMount", mount)) as sampler:
            while not sampler.samples.pages:
                time.sleep(0.001)
    except OSError as error:
        pytest.skip(f"no direct I/O in {tmp_path}: {error.strerror}")
    assert set(sampler.samples.pages) == {0}
