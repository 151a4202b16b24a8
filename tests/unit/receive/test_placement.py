"""Where threads of queues run: a rule over what the queues look like, in a time of its own."""

import pytest

from zramfs.receive.placement import Placement

MS = 1_000_000
CALLER, ANOTHER = 4711, 4712


class Machine:
    """Queues in turns of a little more than a millisecond."""

    def __init__(self, *homes: int) -> None:
        self.placement = Placement(homes or (0, 1))
        self.now_ns = 10**12

    def turn(self, *, deep: bool = True, caller: int = CALLER, queue: int = 0) -> bool:
        """Let requests come for a turn; whether the queue's thread then leaves home or comes back."""
        self.now_ns += MS + MS // 10
        self.placement.note(queue, caller, self.now_ns, is_together=deep, times=40)
        return self.placement.look_back(queue, self.now_ns)

    def moves(self, turns: int, *, deep: bool = True, caller: int = CALLER, queue: int = 0) -> int:
        return sum(self.turn(deep=deep, caller=caller, queue=queue) for _ in range(turns))


@pytest.fixture
def roaming() -> Machine:
    machine = Machine()
    assert machine.moves(4) == 1
    assert machine.placement.roaming == (True, False)
    return machine


def test_a_caller_that_waits_is_served_at_home() -> None:
    machine = Machine()
    assert machine.moves(100, deep=False) == 0
    assert machine.placement.roaming == (False, False)


def test_the_thread_of_a_single_caller_with_a_deep_queue_roams() -> None:
    machine = Machine()
    assert machine.moves(100) == 1
    assert machine.placement.moves == (1, 0)


def test_one_deep_turn_is_none() -> None:
    machine = Machine()
    assert sum(machine.turn(deep=turn % 2 == 0) for turn in range(100)) == 0


def test_a_few_requests_say_nothing() -> None:
    machine = Machine()
    for _ in range(20):
        machine.now_ns += 2 * MS
        machine.placement.note(0, CALLER, machine.now_ns, is_together=True, times=8)
        assert not machine.placement.look_back(0, machine.now_ns)


def test_beside_another_caller_threads_stay_at_home() -> None:
    machine = Machine()
    for _ in range(20):
        machine.placement.note(1, ANOTHER, machine.now_ns, is_together=False)
        assert not machine.turn()


def test_callers_that_share_a_queue_are_served_at_home() -> None:
    machine = Machine()
    for _ in range(20):
        machine.placement.note(0, ANOTHER, machine.now_ns, is_together=True)
        assert not machine.turn()


def test_a_caller_that_the_scheduler_moves_is_still_the_only_one() -> None:
    machine = Machine()
    machine.placement.note(1, CALLER, machine.now_ns, is_together=True)
    assert machine.moves(6) == 1
    assert machine.moves(6, queue=1) == 1
    assert machine.placement.roaming == (True, True)


def test_another_caller_sends_threads_home_for_a_while(roaming: Machine) -> None:
    roaming.placement.note(1, ANOTHER, roaming.now_ns + MS, is_together=False)
    assert roaming.turn()
    assert roaming.placement.roaming == (False, False)
    assert roaming.moves(4) == 0
    assert roaming.moves(4) == 1


def test_a_caller_of_long_ago_is_none(roaming: Machine) -> None:
    roaming.placement.note(1, ANOTHER, roaming.now_ns - 3 * MS, is_together=False)
    assert roaming.moves(10) == 0


def test_a_thread_that_keeps_up_with_its_caller_roams_for_a_while_before_it_looks_again(roaming: Machine) -> None:
    assert roaming.moves(15, deep=False) == 0
    assert roaming.moves(10, deep=False) == 1
    assert roaming.placement.roaming == (False, False)
    assert roaming.moves(100, deep=False) == 0


def test_a_queue_that_stays_deep_lets_its_thread_roam_on(roaming: Machine) -> None:
    assert roaming.moves(15, deep=False) == 0
    assert not roaming.turn()
    assert roaming.moves(15, deep=False) == 0


def test_threads_stay_where_they_are_while_nothing_comes(roaming: Machine) -> None:
    assert roaming.placement.roaming == (True, False)
    assert "roaming: [0]" in repr(roaming.placement)


@pytest.mark.parametrize("homes", [(0,), (0, -1), (-1, -1)])
def test_where_there_is_no_other_cpu_nobody_leaves_home(homes: tuple[int, ...]) -> None:
    assert Machine(*homes).moves(20) == 0


def test_a_queue_of_a_cpu_that_is_not_ours_is_left_to_the_scheduler() -> None:
    machine = Machine(0, -1, 2)
    assert machine.moves(20, queue=1) == 0
    assert machine.moves(20, queue=2) == 1
