"""Finds backends: every one is announced by the entry-point group `zramfs.backends`, ours like other packages'."""

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from zramfs.backends.promises import describe
from zramfs.contracts import Backend
from zramfs.errors import InvalidValue, LibraryMissing, ZramError
from zramfs.libraries import explain_import_error
from zramfs.suggestions import did_you_mean

ENTRY_POINT_GROUP: Final = "zramfs.backends"

_IN_THE_KERNELS_ORDER: Final = ("lzo-rle", "lzo", "lz4", "lz4hc", "zstd", "deflate")


def backend_names() -> list[str]:
    """The algorithms that can be chosen: the kernel's in its order (zcomp.c), then the others, sorted."""
    names = entry_points(group=ENTRY_POINT_GROUP).names
    return [name for name in _IN_THE_KERNELS_ORDER if name in names] + sorted(names - {*_IN_THE_KERNELS_ORDER})


def load_backend(name: str) -> Backend:
    """Return the backend of this name.

    InvalidValue if there is none or its package is broken, LibraryMissing if it needs one that cannot be loaded.
    """
    announced = _announced(name)
    try:
        backend = announced.load()
    except ImportError as error:
        raise _not_imported(announced, error) from error
    except BaseException as error:  # whatever another package raises
        raise InvalidValue(f"algorithm {name!r} cannot be loaded: {describe(error)}") from error
    if not isinstance(backend, Backend):
        kind = "class" if isinstance(backend, type) else type(backend).__name__
        wanted = "no instance of zramfs.backend_api.Backend"
        raise InvalidValue(f"algorithm {name!r} cannot be used: {announced.value} is {wanted}, but a {kind}")
    if (its_name := getattr(backend, "name", None)) != name:
        raise InvalidValue(f"algorithm {name!r} is announced, but its backend has the name {its_name!r}")
    return backend


def _announced(name: str) -> EntryPoint:
    """Return the one entry point of this name. No package replaces another's backend by being found first."""
    by_value = {each.value: each for each in entry_points(group=ENTRY_POINT_GROUP, name=name)}
    if not by_value:
        raise InvalidValue(f"no algorithm {name!r}: {did_you_mean(name, backend_names())}")
    if len(by_value) > 1:
        values = " and ".join(sorted(by_value))
        raise InvalidValue(f"algorithm {name!r} is announced twice, as {values}: uninstall one of the packages")
    return next(iter(by_value.values()))


def _not_imported(announced: EntryPoint, error: ImportError) -> ZramError:
    told = f"algorithm {announced.name!r} cannot be loaded"
    if isinstance(error, ModuleNotFoundError) and f"{announced.module}.".startswith(f"{error.name}."):
        return InvalidValue(f"{told}: there is no module {error.name}")
    return LibraryMissing(f"{told}: {explain_import_error(error, otherwise=describe(error))}")
