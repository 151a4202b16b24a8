from zramfs.request_memory import RequestMemory


def test_what_is_held_leaves_room_up_to_the_limit() -> None:
    memory = RequestMemory(100)
    memory.hold(60)
    assert memory.has_room(40)
    assert not memory.has_room(41)
    memory.let_go(60)
    assert memory.has_room(100)
    assert memory.held_bytes == 0


def test_repr_tells_both() -> None:
    memory = RequestMemory(100)
    memory.hold(60)
    assert repr(memory) == "<RequestMemory 60 of 100 bytes>"
