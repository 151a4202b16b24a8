"""A backend of another package, held to its contract: a filter in front of it, with the same interface.

`checked_streams` has what each write passes, `promises` what becomes of a promise that was broken.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeVar

import trio

from zramfs.backends.checked_streams import TICK_S, CheckedStreams
from zramfs.backends.promises import Promises, describe, is_ours
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.errors import BackendBroken, InvalidValue
from zramfs.streams import StreamManager

_log: Final = logging.getLogger(__name__)

_T = TypeVar("_T")


def checked(backend: Backend) -> Backend:
    """Return what one device may use of a backend: ours as it is, others behind a `CheckedBackend` of its own."""
    return backend if is_ours(backend) else CheckedBackend(backend)


class CheckedBackend(Backend):
    """A backend of another package, for one device: set up once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name = backend.name
        self._promises = Promises(backend)
        self._params = BackendParams(algorithm=AlgorithmParams())
        self._contexts: list[PageCodec] = []
        self._streams: WatchedStreams | None = None

    def setup_params(self, requested: AlgorithmParams, *, accelerator: Accelerator | None) -> BackendParams:
        """Have the parameters fixed; BackendBroken if that cannot be, not even without managed streams."""
        if accelerator is None:
            return self._set_up(requested, None)
        try:
            return self._set_up(requested, accelerator)
        except BackendBroken as error:
            return replace(self._set_up(requested, None), manager_error=str(error))

    def _set_up(self, requested: AlgorithmParams, accelerator: Accelerator | None) -> BackendParams:
        checked_accelerator = accelerator and _CheckedAccelerator(accelerator, self._admit)
        params = self._ask(
            "setup_params()", lambda: self._backend.setup_params(requested, accelerator=checked_accelerator)
        )
        if not _are_params(params):
            raise BackendBroken(self._promises.note("setup_params()", f"returned {_kind(params)}"))
        self._params = params
        if params.manager is None or is_ours(params.manager):
            return params
        if accelerator is None:
            self._promises.note("setup_params()", "made managed streams though nobody wants them")
        try:
            return replace(params, manager=self._watch(params.manager))
        except BackendBroken as error:
            self.release_params(params)
            raise BackendBroken(str(error)) from error

    def _watch(self, manager: StreamManager) -> "WatchedStreams":
        if not isinstance(manager, StreamManager):
            raise BackendBroken(self._promises.note("setup_params()", f"made {_kind(manager)} its stream manager"))
        self._streams = WatchedStreams(manager, self._promises, self._create_context())
        return self._streams

    def resolve_params(self, requested: AlgorithmParams) -> AlgorithmParams:
        """Have the defaults put in."""
        return self._ask("resolve_params()", lambda: self._backend.resolve_params(requested))

    def create_context(self, params: BackendParams) -> PageCodec:
        """Have a context made; BackendBroken if that fails."""
        del params  # those that the package made are another object
        return self._create_context()

    def _create_context(self) -> PageCodec:
        return self._admit(lambda: self._backend.create_context(self._params))

    def _admit(self, create_context: Callable[[], PageCodec]) -> PageCodec:
        """Have a context made that is one, and is nobody else's."""
        codec = self._ask("create_context()", create_context)
        if not isinstance(codec, PageCodec):
            raise BackendBroken(self._promises.note("create_context()", f"returned {_kind(codec)}"))
        if any(codec is other for other in self._contexts):
            raise BackendBroken(self._promises.note("create_context()", "returned one context twice"))
        self._contexts.append(codec)
        if isinstance(codec, FunctionCodec):
            codec.on_failure = self._note_failed_page
        return codec

    def _note_failed_page(self, function: str, error: BaseException) -> None:
        self._promises.note(f"{function}()", f"failed on a page: {describe(error)}")

    def release_params(self, params: BackendParams) -> None:
        """Have it all undone; not while a stream is at work that never ends: who waits for it would not end either."""
        del params
        if self._streams is not None:
            self._streams.end()
            if self._streams.unfinished:
                self._promises.give_up(f"{self._streams.unfinished} of its streams do not end, and stay behind")
                return
        with suppress(BackendBroken):
            self._ask("release_params()", lambda: self._backend.release_params(self._params))

    def _ask(self, promise: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except (BackendBroken, InvalidValue, MemoryError):
            raise
        except BaseException as error:  # whatever another package raises
            raise BackendBroken(self._promises.note(promise, f"raised {describe(error)}")) from error

    def __repr__(self) -> str:
        return f"<CheckedBackend {self.name} {self._promises!r}>"


class _CheckedAccelerator:
    """The accelerator as another package sees it: `admit` makes a context by the package's function, and checks it."""

    def __init__(self, accelerator: Accelerator, admit: Callable[[Callable[[], PageCodec]], PageCodec]) -> None:
        self._accelerator = accelerator
        self._admit = admit
        self.settings = accelerator.settings
        self.can_set = accelerator.can_set
        self.set = accelerator.set

    def attach(self, create_context: Callable[[], PageCodec]) -> StreamManager:
        """Set the device up for the package's codec."""
        return self._accelerator.attach(lambda: self._admit(create_context))


def _are_params(thing: object) -> bool:
    return isinstance(thing, BackendParams) and isinstance(thing.algorithm, AlgorithmParams)


def _kind(thing: object) -> str:
    return f"an object of class {type(thing).__name__}"


class WatchedStreams(CheckedStreams):
    """Checked streams, and whoever watches over them: no run is in flight for ever."""

    async def serve_completions(self) -> None:
        """Let the package serve its completions, and watch, until `end`.

        Cancelled, it gives out no more streams, and ends once those in flight are complete.
        """
        self.token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._serve_inner)
            try:
                while not self.has_ended:
                    await self.await_work()
                    await self._tick()
            finally:
                self.end()
                with trio.CancelScope(shield=True):
                    while not self.is_idle:
                        await self._tick()
                nursery.cancel_scope.cancel()

    async def _tick(self) -> None:
        await trio.sleep(TICK_S)
        self.tick()

    async def _serve_inner(self) -> None:
        try:
            await self.inner.serve_completions()
        except trio.Cancelled:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever another package raises
            if not self.has_ended:
                self.promises.note("serve_completions()", f"raised {describe(error)}")
                self.promises.give_up("nobody serves its completions any more")

    def statistics(self) -> Mapping[str, float]:
        """What the package counts, if it is numbers by name, and what it broke."""
        own = {"broken_promises": self.promises.broken_count, "software_redone": self.redone_pages}
        try:
            found = dict(self.inner.statistics())
        except BaseException as error:  # noqa: BLE001 - whatever another package raises
            self.promises.broken("statistics()", f"raised {describe(error)}")
            return own
        if not all(_is_word(name) and isinstance(value, int | float) for name, value in found.items()):
            self.promises.broken("statistics()", "returned something else than numbers by name")
            return own
        return found | own


def _is_word(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()
