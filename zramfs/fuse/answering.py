"""How a handler of pyfuse3's fails: always with an errno."""

import errno
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, ParamSpec, TypeVar

from pyfuse3 import FUSEError

from zramfs.errors import ZramError

_log: Final = logging.getLogger(__name__)

_P = ParamSpec("_P")
_R = TypeVar("_R")


def errno_of(error: Exception, request: str) -> int:
    """Return the answer to a request that failed; what nobody expected is logged, and is EIO to the caller."""
    if isinstance(error, FUSEError):
        return error.errno
    if isinstance(error, ZramError):
        _log.debug("%s: %s", request, error)
        return error.errno
    _log.error("%s failed; the request is answered with EIO", request, exc_info=error)
    return errno.EIO


def answers_errors(handler: Callable[_P, Awaitable[_R]]) -> Callable[_P, Coroutine[Any, Any, _R]]:
    """Answer every error with an errno: one that escaped would end the mount, and with it everybody's data."""

    @functools.wraps(handler)
    async def answering(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return await handler(*args, **kwargs)
        except Exception as error:
            raise FUSEError(errno_of(error, handler.__name__)) from error

    return answering
