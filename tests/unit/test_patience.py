import os
import time
from pathlib import Path

from zramfs.patience import ask_each_patiently


def test_each_answers_in_its_place() -> None:
    assert ask_each_patiently([lambda: b"a", lambda: b"", lambda: b"c" * 200_000], 20.0) == [b"a", b"", b"c" * 200_000]
    assert ask_each_patiently([], 1.0) == []


def test_one_that_hangs_keeps_no_other_from_answering() -> None:
    def hang() -> bytes:
        time.sleep(600)
        return b"late"

    assert ask_each_patiently([hang, lambda: b"b"], 1.0) == [None, b"b"]


def test_a_child_that_fails_says_nothing() -> None:
    def fail() -> bytes:
        raise ValueError

    assert ask_each_patiently([fail, lambda: os._exit(1)], 20.0) == [b"", b""]


def test_children_that_have_answered_are_gone() -> None:
    (said,) = ask_each_patiently([lambda: str(os.getpid()).encode()], 20.0)
    assert said is not None
    assert not Path(f"/proc/{int(said)}").exists()
