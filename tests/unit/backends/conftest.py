"""What tests of other packages' backends need: a short patience with them, and what was logged."""

import logging
from collections.abc import Iterator

import pytest

from zramfs.backends import checked


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "TICK_S", 0.002)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.INFO)
    yield caplog
    assert "Traceback" not in caplog.text
