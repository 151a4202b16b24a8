import os
from collections.abc import Iterator

import pytest

from zramfs.block.disk import Disk
from zramfs.block.layer import BlockLayer
from zramfs.receive.handles import FIRST_OTHER_HANDLE, Handles, TooManyOpenFiles


@pytest.fixture
def disk() -> Iterator[Disk]:
    layer = BlockLayer()
    yield Disk("zram0", layer)
    layer.close()


def test_handle_leads_to_its_disk_until_it_is_closed(disk: Disk) -> None:
    handles = Handles()
    first, second = handles.open_disk(disk, os.O_RDONLY), handles.open_disk(disk, os.O_RDWR)
    assert [handles.disk(each) for each in (first, second)] == [(disk, os.O_RDONLY), (disk, os.O_RDWR)]
    handles.close(first)
    assert [handles.disk(each) for each in (first, second)] == [None, (disk, os.O_RDWR)]
    assert repr(handles) == "<Handles of 1 open block files>"


def test_handles_of_block_files_are_given_again(disk: Disk) -> None:
    handles = Handles()
    given = [handles.open_disk(disk, 0) for _ in range(3)]
    handles.close(given[1])
    assert handles.open_disk(disk, 0) == given[1]


def test_handles_of_other_files_are_never_given_again(disk: Disk) -> None:
    handles = Handles()
    others = [handles.open_other() for _ in range(3)]
    handles.close(others[0])
    assert len({*others, handles.open_other()}) == 4
    assert min(others) >= FIRST_OTHER_HANDLE
    assert handles.disk(others[0]) is None
    assert handles.open_disk(disk, 0) < FIRST_OTHER_HANDLE


def test_closing_what_is_not_open_changes_nothing(disk: Disk) -> None:
    handles = Handles()
    for handle in (0, 77, 1 << 62):
        handles.close(handle)
    assert handles.open_disk(disk, 0) == 0
    assert handles.disk(1) is None


def test_there_is_an_end_to_open_files(disk: Disk) -> None:
    handles = Handles()
    for _ in range(1 << 20):
        handles.open_disk(disk, 0)
    with pytest.raises(TooManyOpenFiles):
        handles.open_disk(disk, 0)
    handles.close(5)
    assert handles.open_disk(disk, 0) == 5
