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
    """Fill in a template; it finds the pages' look as `style`."""
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - an extra

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    style = resources.files("zramfs.reporting").joinpath("style.css").read_text()
    return environment.from_string(template).render(style=style, **values)
