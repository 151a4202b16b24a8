"""Pages that need nothing beside them. Imports jinja2 only when one is made."""

from importlib import resources
from importlib.util import find_spec
from typing import Any, Final

from zramfs.errors import CommandFailed

_LIBRARIES: Final = ("jinja2", "matplotlib")


def require_report_libraries() -> None:
    """Raise CommandFailed if a report cannot be made: better before the work than after it."""
    if missing := [name for name in _LIBRARIES if find_spec(name) is None]:
        raise CommandFailed(f"--report needs {' and '.join(missing)}: pip install {' '.join(missing)}")


def render_page(template: str, **values: Any) -> str:
    """Fill in a template, which has the pages' look as `style`, and may include "device.html", of a `device`."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415 - an extra

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(_part),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _part("style.css")
    return environment.from_string(template).render(style=style, **values)


def _part(name: str) -> str:
    return resources.files("zramfs.reporting").joinpath(name).read_text()
