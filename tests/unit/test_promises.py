"""docs/testing.md: each promise names tests, and each test that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "testing.md"

_ROW = re.compile(r"^\| ([^|]+) \| ([^|]*) \|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")

ROWS = [
    (promise, tests)
    for promise, tests in _ROW.findall(PAGE.read_text().partition("What must never happen")[2])
    if promise not in ("promise", "---")
]
NAMED = sorted(set(_TEST.findall(PAGE.read_text())))


@cache
def names_in(file: str) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(ast.parse((TESTS / file).read_text())) if isinstance(node, functions)}


def test_there_are_promises() -> None:
    assert len(ROWS) > 5


@pytest.mark.parametrize(("promise", "tests"), ROWS, ids=[promise for promise, _ in ROWS])
def test_every_promise_is_held_by_tests_and_by_nothing_else(promise: str, tests: str) -> None:
    assert promise
    assert _TEST.sub("", tests).replace("<br>", "").strip() == ""
    assert _TEST.search(tests)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_holds_a_promise_is_there(file: str, name: str) -> None:
    assert name in names_in(file)
