import pytest

from zramfs.fuse.companion import direct_writes_are_parallel


@pytest.mark.parametrize(
    ("release", "are"), [("6.9.0", True), ("6.18.5-cloud-amd64", True), ("7.0-rc1", True), ("6.1.0-40-amd64", False)]
)
def test_direct_writes_are_parallel_where_the_kernel_keeps_caches_in_step(release: str, *, are: bool) -> None:
    assert direct_writes_are_parallel(release) is are


def test_an_unknown_release_is_an_old_one() -> None:
    assert not direct_writes_are_parallel("something else")
