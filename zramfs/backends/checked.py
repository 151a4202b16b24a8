"""A backend of another package, held to its contract: a filter in front of it, with the same interface.

`checked_streams` has what each write passes, `promises` what becomes of a promise that was broken.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import trio

from zramfs.backends.checked_streams import TICK_S, CheckedStreams
from zramfs.backends.promises import Promises, describe, is_ours
from zramfs.codec.run import FunctionCodec, PageCodec
from zramfs.contracts import Accelerator, AlgorithmParams, Backend, BackendParams
from zramfs.errors import BackendBroken, InvalidValue
from zramfs.streams import StreamManager

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
        params = self._params = self._ask_for_params(requested, accelerator)
        manager = params.manager
        if manager is None or _is_our_manager(manager):
            return params
        if accelerator is None:
            self._promises.note("setup_params()", "made managed streams though nobody wants them")
        try:
            return replace(params, manager=self._watch(manager))
        except BackendBroken:
            self.release_params(params)
            raise

    def _ask_for_params(self, requested: AlgorithmParams, accelerator: Accelerator | None) -> BackendParams:
        lent = _LentAccelerator(accelerator, self._admit) if accelerator is not None else None
        params = None
        try:
            params = self._ask("setup_params()", lambda: self._backend.setup_params(requested, accelerator=lent))
        finally:
            if lent is not None and not _are_params(params):
                lent.take_back()
        if not _are_params(params):
            raise BackendBroken(self._promises.note("setup_params()", f"returned {_kind(params)}"))
        return params

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
        """Have it all undone; not while a stream is at work that never ends: a manager that waits for it would hang."""
        del params
        if self._streams is not None:
            self._streams.end()
            if self._streams.unfinished:
                self._promises.note(
                    "close()", f"is not called: {self._streams.unfinished} of its streams do not end, and stay behind"
                )
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


class _LentAccelerator:
    """The accelerator in the hands of another package, by whose function `admit` makes a context, and checks it."""

    def __init__(self, accelerator: Accelerator, admit: Callable[[Callable[[], PageCodec]], PageCodec]) -> None:
        self._accelerator = accelerator
        self._admit = admit
        self._attached: StreamManager | None = None
        self.settings = accelerator.settings
        self.setting = accelerator.setting
        self.can_set = accelerator.can_set
        self.set = accelerator.set
        self.abandon = accelerator.abandon

    def attach(self, create_context: Callable[[], PageCodec]) -> StreamManager:
        """Set the device up for the package's codec."""
        self._attached = self._accelerator.attach(lambda: self._admit(create_context))
        return self._attached

    def take_back(self) -> None:
        """Close what the package will not close."""
        if self._attached is not None:
            self._attached.close()


def _are_params(thing: object) -> bool:
    return isinstance(thing, BackendParams) and isinstance(thing.algorithm, AlgorithmParams)


def _is_our_manager(thing: object) -> bool:
    return isinstance(thing, StreamManager) and is_ours(thing)


def _kind(thing: object) -> str:
    return f"an object of class {type(thing).__name__}"


class WatchedStreams(CheckedStreams):
    """Checked streams, and a task that watches over them: no run is in flight for ever."""

    def __init__(self, inner: StreamManager, promises: Promises, codec: PageCodec) -> None:
        super().__init__(inner, promises, codec)
        self._ended = trio.Event()

    def end(self) -> None:
        """Give out no more streams, and let `serve_completions` end."""
        super().end()
        self._ended.set()

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
                    with trio.move_on_after(TICK_S):
                        await self._ended.wait()
                    self.tick()
            finally:
                self.end()
                with trio.CancelScope(shield=True):
                    while not self.is_idle:
                        await trio.sleep(TICK_S)
                        self.tick()
                nursery.cancel_scope.cancel()

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
        """The package's counts, if they are numbers by name, and those of its broken promises."""
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
