"""A device with a backing file, for the tests of writeback."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from written_back import FORMS, PAGE, PAGES, first_block

from zramfs.device.device import ZramDevice

OpenDevice = Callable[..., AbstractAsyncContextManager[ZramDevice]]
Open = Callable[..., AbstractAsyncContextManager[ZramDevice]]


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def open_backed(open_device: OpenDevice, tmp_path: Path, request: pytest.FixtureRequest) -> Open:
    """Open a device of PAGES pages, in each form, with a backing file that takes as many pages as asked for."""
    form: dict[str, Any] = request.param

    @asynccontextmanager
    async def opening(blocks: int = PAGES, **options: Any) -> AsyncIterator[ZramDevice]:
        path = tmp_path / "backing"
        path.write_bytes(bytes((first_block(form["abi"]) + blocks) * PAGE))
        async with open_device(PAGES, backing=path, **(form | options)) as device:
            yield device

    return opening
