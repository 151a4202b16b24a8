"""Where threads of queues run: a rule over what the queues look like, in a time of its own."""

import pytest

from zramfs.receive.awake import Awake
from zramfs.receive.placement import Placement

MS = 1_000_000
CALLER, ANOTHER = 4711, 4712


class Machine:
    """Queues in turns of a little more than a millisecond, on CPUs of which some are idle."""

    def __init__(self, cpus: int = 2, *, homes: tuple[int, ...] | None = None, idle: set[int] | None = None) -> None:
        self.awake = Awake(range(cpus), starts=False)
        self.placement = Placement(homes or tuple(range(cpus)), self.awake)
        self.idle = set(range(cpus)) if idle is None else idle
        self.now_ns = 10**12
        self.awake_ns = 0

    def turn(self, *, deep: bool = True, caller: int = CALLER, queue: int = 0, waited: float = 0.0) -> int | None:
        """Let requests come for a turn; where the thread then goes. `waited` is its part of waiting for a CPU."""
        self.now_ns += MS + MS // 10
        self.awake_ns += int(MS * 1.1 * (1 - waited))
        self.placement.note(queue, caller, self.now_ns, is_together=deep, times=40)
        return self.look_back(queue)

    def look_back(self, queue: int = 0) -> int | None:
        for cpu in self.idle:
            self.awake.see(cpu, self.now_ns)
        return self.placement.look_back(queue, self.now_ns, self.awake_ns)

    def turns(self, count: int, **how: bool) -> list[int]:
        gone = [self.turn(**how) for _ in range(count)]  # type: ignore[arg-type]
        return [cpu for cpu in gone if cpu is not None]


@pytest.fixture
def away() -> Machine:
    machine = Machine()
    assert machine.turns(4) == [1]
    return machine


def test_a_caller_that_waits_is_served_at_home() -> None:
    machine = Machine()
    assert machine.turns(100, deep=False) == []
    assert machine.placement.cpus == (0, 1)


def test_a_single_caller_with_a_deep_queue_is_served_from_an_idle_cpu() -> None:
    machine = Machine()
    assert machine.turns(100) == [1]
    assert machine.placement.moves == (1, 0)


def test_nobody_goes_to_a_cpu_that_is_not_idle() -> None:
    machine = Machine(idle=set())
    assert machine.turns(100) == []


def test_the_first_idle_cpu_is_taken() -> None:
    assert Machine(4, idle={2, 3}).turns(10) == [2]


def test_nobody_leaves_without_a_look_at_idle_cpus() -> None:
    placement = Placement((0, 1), None)
    for now_ns in range(10**9, 10**9 + 100 * MS, MS):
        placement.note(0, CALLER, now_ns, is_together=True, times=40)
        assert placement.look_back(0, now_ns, now_ns) is None


def test_a_cpu_whose_queue_another_caller_uses_is_left_alone() -> None:
    machine = Machine()
    for _ in range(20):
        machine.placement.note(1, ANOTHER, machine.now_ns, is_together=False)
        assert machine.turn() is None


def test_a_queue_that_our_caller_has_just_used_is_not_anothers() -> None:
    machine = Machine()
    machine.placement.note(1, CALLER, machine.now_ns, is_together=True)  # the scheduler moved it from there
    assert machine.turns(6) == [1]


def test_threads_come_home_as_soon_as_another_caller_uses_the_queue(away: Machine) -> None:
    away.placement.note(1, ANOTHER, away.now_ns, is_together=False)
    assert away.look_back() == 0
    assert away.turns(4) == []  # and stay for a while
    assert away.turns(4) == [1]


def test_threads_come_home_from_a_cpu_that_others_use(away: Machine) -> None:
    assert away.turn(waited=0.5) == 0
    assert away.turns(40) == []
    assert away.turns(20) == [1]


def test_threads_come_home_when_their_caller_waits(away: Machine) -> None:
    assert away.turn(deep=False) == 0


def test_threads_stay_away_while_nothing_comes(away: Machine) -> None:
    away.now_ns += 1000 * MS
    away.awake_ns += 1000 * MS
    assert away.look_back() is None


def test_one_guest_is_enough_for_a_cpu() -> None:
    machine = Machine(3)
    for _ in range(4):
        machine.turn(queue=0)
        machine.turn(queue=2, caller=ANOTHER)
    assert machine.placement.cpus == (1, 1, 2)  # its own thread and one guest


def test_a_cpu_that_is_not_ours_is_nobodys_home_nor_aim() -> None:
    machine = Machine(2, homes=(0, -1))
    assert machine.turns(10) == []
    assert machine.placement.cpus == (0, -1)
