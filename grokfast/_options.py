"""Keyword options of public functions, each named, typed and given its default once, in a TypedDict (PEP 692).

A function that takes many options names them as ``**options: Unpack[ItsOptions]``; type checkers know them from that,
and :func:`takes_options` makes the signature that ``help``, editors and the documentation show.
"""

from __future__ import annotations

import ast
import functools
import inspect
import typing
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from grokfast._checks import nearest
from grokfast.errors import OptionError

_P = ParamSpec("_P")
_R = TypeVar("_R")


def takes_options(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorator: give the function all options that its ``**options: Unpack[ItsOptions]`` names, and no others.

    In ``ItsOptions``, a ``TypedDict(total=False)``, ``Annotated[type, default]`` is an option with a default and
    ``Required[type]`` one without.

    Args:
        function: Any function or method that ends with such options.

    Returns:
        The same, which is called with every option; its signature lists them.

    Raises:
        OptionError: From the function, if an option is missing or there is none of that name.
    """
    signature = inspect.signature(function)
    *own, rest = signature.parameters.values()
    types = typing.get_type_hints(function)
    (fields,) = typing.get_args(types.pop(rest.name))
    hints = typing.get_type_hints(fields, include_extras=True)
    written = {name: ast.parse(hint.__forward_arg__, mode="eval") for name, hint in fields.__annotations__.items()}
    defaults = {name: hint.__metadata__[0] for name, hint in hints.items() if hasattr(hint, "__metadata__")}
    keywords = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name, inspect.Parameter.empty),
            annotation=_type_as_written(written[name]),
        )
        for name in hints
    ]
    names = [*(parameter.name for parameter in own if parameter.kind is inspect.Parameter.KEYWORD_ONLY), *hints]
    known = {*(parameter.name for parameter in own), *hints}
    called_as = function.__qualname__.removesuffix(".__init__")

    @functools.wraps(function)
    def called(*args: _P.args, **given: _P.kwargs) -> _R:
        for name in given:
            if name not in known:
                hint = nearest(name, names)
                raise OptionError(f"{called_as} has no option {name!r}{hint}; it has {', '.join(names)}")
        missing = [name for name in hints if name not in defaults and name not in given]
        if missing:
            raise OptionError(f"{called_as} needs the option {', '.join(missing)}")
        return function(*args, **(defaults | given))

    called.__signature__ = signature.replace(parameters=[*own, *keywords])  # type: ignore[attr-defined]
    called.__annotations__ = types | {name: typing.get_args(hint)[0] for name, hint in hints.items()}
    del called.__wrapped__  # its source has other parameters than the signature, which documentation tools mix up
    return called


def _type_as_written(annotation: ast.Expression) -> str:
    """``str | None`` of ``Annotated[str | None, None]`` or ``Required[str | None]``, without aliases written out."""
    assert isinstance(annotation.body, ast.Subscript)
    inner = annotation.body.slice
    return ast.unparse(inner.elts[0] if isinstance(inner, ast.Tuple) else inner)
