from zramfs.block.blocks import BlockMap


def test_the_lowest_free_block_is_reserved() -> None:
    blocks = BlockMap(3)
    assert [blocks.reserve() for _ in range(4)] == [0, 1, 2, None]
    blocks.give_back(1)
    blocks.give_back(0)
    assert blocks.reserved == 1
    assert [blocks.reserve() for _ in range(3)] == [0, 1, None]


def test_nobody_gets_a_block_before_the_first() -> None:
    blocks = BlockMap(3, first_block=1)
    assert [blocks.reserve() for _ in range(3)] == [1, 2, None]
    blocks.give_back(1)
    assert (blocks.reserve(), blocks.reserved) == (1, 2)
    assert BlockMap(1, first_block=1).reserve() is None


def test_a_block_that_is_read_is_nobody_elses_before_that_has_ended() -> None:
    blocks = BlockMap(2)
    assert blocks.reserve() == 0
    blocks.pin(0)
    blocks.pin(0)
    blocks.give_back(0)
    assert blocks.reserved == 0
    assert [blocks.reserve(), blocks.reserve()] == [1, None]
    blocks.unpin(0)
    assert blocks.reserve() is None
    blocks.unpin(0)
    assert blocks.reserve() == 0


def test_a_read_that_ends_first_leaves_the_block_to_its_owner() -> None:
    blocks = BlockMap(1)
    assert blocks.reserve() == 0
    blocks.pin(0)
    blocks.unpin(0)
    assert blocks.reserve() is None
    assert blocks.reserved == 1
