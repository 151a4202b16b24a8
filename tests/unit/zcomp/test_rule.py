import itertools

import pytest

from zramfs.zcomp import rule

AUTO, ALL_MANAGED, ALL_PERCPU = range(3)
TO_PERCPU, TO_POLLED, TO_MANAGED, TO_FALLBACK, TO_WAIT = range(5)
BOTH = (False, True)


@pytest.mark.parametrize(
    ("policy", "is_async", "prefers"),
    [
        (AUTO, False, False),
        (AUTO, True, True),
        (ALL_MANAGED, False, True),
        (ALL_MANAGED, True, True),
        (ALL_PERCPU, False, False),
        (ALL_PERCPU, True, False),
    ],
)
def test_the_policy_says_which_writes_prefer_managed_streams(policy: int, *, is_async: bool, prefers: bool) -> None:
    assert rule.prefers_managed(policy, is_async) is prefers


@pytest.mark.parametrize("rest", list(itertools.product(BOTH, repeat=4)))
def test_who_prefers_no_managed_stream_goes_to_the_cpu(rest: tuple[bool, bool, bool, bool]) -> None:
    assert rule.route(False, *rest) == TO_PERCPU  # noqa: FBT003


@pytest.mark.parametrize(
    ("may_poll", "may_begin", "way"),
    [(True, True, TO_POLLED), (True, False, TO_POLLED), (False, True, TO_MANAGED), (False, False, TO_FALLBACK)],
)
@pytest.mark.parametrize("must_wait", BOTH)
def test_who_prefers_a_managed_stream_polls_if_it_may_and_begins_if_it_can(
    way: int, *, may_poll: bool, may_begin: bool, must_wait: bool
) -> None:
    assert rule.route(True, may_poll, may_begin, False, must_wait) == way  # noqa: FBT003


@pytest.mark.parametrize(
    ("may_begin", "must_wait", "way"),
    [(True, True, TO_WAIT), (True, False, TO_FALLBACK), (False, True, TO_FALLBACK), (False, False, TO_FALLBACK)],
)
@pytest.mark.parametrize("may_poll", BOTH)
def test_who_is_refused_waits_if_it_must_and_can(way: int, *, may_poll: bool, may_begin: bool, must_wait: bool) -> None:
    assert rule.route(True, may_poll, may_begin, True, must_wait) == way  # noqa: FBT003
