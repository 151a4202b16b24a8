from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from zramfs.pool.by_hand import put
from zramfs.pool.size_classes import HANDLE_BYTES, HUGE_CLASS_BYTES, SIZE_CLASSES, class_index
from zramfs.pool.zspool import ZsPool


def test_there_is_a_class_for_every_16_bytes_from_32_to_4096() -> None:
    assert len(SIZE_CLASSES) == 255
    assert SIZE_CLASSES[-1].object_bytes == 4096


def test_a_stored_page_is_huge_from_3625_bytes_on() -> None:
    assert HUGE_CLASS_BYTES == 3625
    assert not SIZE_CLASSES[class_index(3624)].is_huge
    assert SIZE_CLASSES[class_index(3625)].is_huge


def test_the_last_class_that_is_not_huge_has_3632_bytes_with_the_handle() -> None:
    assert max(entry.object_bytes for entry in SIZE_CLASSES if not entry.is_huge) == 3632


def test_the_smallest_objects_share_a_page() -> None:
    assert SIZE_CLASSES[0].object_bytes == 32
    assert (SIZE_CLASSES[0].pages_per_zspage, SIZE_CLASSES[0].objects_per_zspage) == (1, 128)


def test_one_object_of_32_bytes_costs_12288_bytes() -> None:
    assert SIZE_CLASSES[class_index(32)].pages_per_zspage * 4096 == 12288


def test_an_object_of_half_a_page_with_its_handle_wastes_nothing() -> None:
    size_class = SIZE_CLASSES[class_index(2048 - HANDLE_BYTES)]
    assert (size_class.object_bytes, size_class.pages_per_zspage, size_class.objects_per_zspage) == (
        2048,
        1,
        2,
    )


def test_classes_of_equal_geometry_are_merged_into_the_largest() -> None:
    sizes = defaultdict(set)
    for step, size_class in enumerate(SIZE_CLASSES):
        assert size_class.object_bytes >= 32 + 16 * step
        sizes[size_class.pages_per_zspage, size_class.objects_per_zspage].add(size_class.object_bytes)
    assert all(len(same_geometry) == 1 for same_geometry in sizes.values())
    assert len(sizes) < 255


def test_no_other_chain_length_wastes_less() -> None:
    for size_class in SIZE_CLASSES:
        used = size_class.objects_per_zspage * size_class.object_bytes
        waste = size_class.pages_per_zspage * 4096 - used
        assert 0 <= waste < size_class.object_bytes
        if size_class.object_bytes & (size_class.object_bytes - 1):
            assert waste <= min(pages * 4096 % size_class.object_bytes for pages in range(1, 9))


@given(st.integers(1, 4096))
def test_an_object_fits_its_class_and_not_the_one_before(payload_bytes: int) -> None:
    index = class_index(payload_bytes)
    assert SIZE_CLASSES[index].object_bytes >= min(payload_bytes + HANDLE_BYTES, 4096)
    assert index == 0 or 32 + 16 * (index - 1) < payload_bytes + HANDLE_BYTES


@given(st.integers(1, 4096))
def test_the_compiled_pool_uses_these_classes(payload_bytes: int) -> None:
    pool = ZsPool()
    put(pool, bytes(payload_bytes))
    assert pool.used_pages == SIZE_CLASSES[class_index(payload_bytes)].pages_per_zspage
