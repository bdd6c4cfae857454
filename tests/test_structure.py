"""How the package is written: few parameters, no private names across modules, options that say what they are."""

from __future__ import annotations

import ast
import importlib
import inspect
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import grokfast
from grokfast._options import takes_options
from grokfast.errors import InputError, OptionError
from grokfast.fisher import FisherPlan, fisher_diag, fisher_gram, fisher_inner, fisher_plan, fisher_vector_product
from grokfast.ising.quench import quench

ROOT = Path(grokfast.__file__).parent
MOST = 8
OF_AN_OP = ("custom_op", "register_kernel", "register_fake")
"""Decorators of functions that must have the parameters of an operation of torch, which takes no records."""

COMPILED = "kernel"
"""Decorator of the sampler's Numba kernels, which take arrays one by one: in tuples they make it a twentieth slower.

A call of one sweep of small lattices took a third longer.
"""


def _modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> int:
    of = node.args
    names = [each.arg for each in (*of.posonlyargs, *of.args, *of.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"])) + (of.vararg is not None) + (of.kwarg is not None)


def _too_long(tree: ast.Module) -> list[tuple[str, int, int]]:
    """Name, line and number of parameters of functions with too many, but for compiled ones and operations of torch.

    The readable twin of an operation, ``op_reference`` of ``op`` or ``op_``, has the operation's parameters too.
    """
    schemas, found = set(), []
    for node in _functions(tree):
        name = getattr(node, "name", "a lambda")
        decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])]
        if COMPILED in decorators:
            continue
        if any(f"{word}(" in text or text.endswith(word) for text in decorators for word in OF_AN_OP):
            schemas.add(f"{name.rstrip('_')}_reference")
        elif _parameters(node) > MOST:
            found.append((name, node.lineno, _parameters(node)))
    return [each for each in found if each[0] not in schemas]


def test_no_function_has_many_parameters():
    found = [(path, *each) for path, tree in _modules() for each in _too_long(tree)]
    assert not found, f"more than {MOST} parameters: {found}; records and options (grokfast._options) hold many"


def test_the_count_of_parameters_sees_every_kind():
    long = "a, b, c, d, e, f, g, h, i"
    for source in (
        f"def f({long}): ...", "def f(a, b, /, c, d, *, e, f, g, h, i): ...", f"x = lambda {long}: 0",
        "def f(a, b, c, d, e, f, g, *h, **i): ...", f"class C:\n def __init__(self, {long}): ...",
        f"@decorated\ndef f({long}): ...", f"def outer():\n async def f({long}): ...",
        f"def other_reference({long}): ...",
    ):  # fmt: skip
        ((_, _, count),) = _too_long(ast.parse(source))
        assert count == 9
    for source in (
        "def f(self, a, b, c, d, e, f, g, h): ...", "def f(cls, a, b, c, d, e, f, g, h): ...",
        f"@torch.library.custom_op('x::y')\ndef y_({long}): ...\ndef y_reference({long}): ...",
        f"@y_.register_fake\ndef _f({long}): ...",
        f"@kernel\ndef f({long}): ...",
    ):  # fmt: skip
        assert not _too_long(ast.parse(source))


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _foreign_names(path: str, tree: ast.Module) -> Iterator[str]:
    """Private names of other modules: imported, or looked up on an imported module; private modules of other rooms."""
    room = path.split("/")[0]
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == "grokfast":
                    modules[name.asname or name.name] = name.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "grokfast":
            where = (node.module or "").split(".")
            for name in node.names:
                whole = ROOT.joinpath(*where[1:], name.name)
                is_module = whole.is_dir() or whole.with_suffix(".py").is_file()
                if is_module:
                    modules[name.asname or name.name] = f"{node.module}.{name.name}"
                parts = [*where, name.name]
                inside = [k for k, part in enumerate(parts) if _private(part)]
                for k in inside:
                    # A private module serves its own room; those at the root serve all.
                    of_all = k == 1 and (k < len(parts) - 1 or is_module)
                    of_room = k > 1 and parts[1] == room and (k < len(parts) - 1 or is_module)
                    if not (of_all or of_room or name.name == "_core"):
                        yield f"{path}: from {node.module} import {name.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _private(node.attr) and ast.unparse(node.value) in modules:
            yield f"{path}: {ast.unparse(node)}"


def test_no_private_name_is_used_across_modules():
    assert [each for path, tree in _modules() for each in _foreign_names(path, tree)] == []


def test_private_names_of_other_modules_are_seen():
    for source in (
        "from grokfast.ops.mlp import _hidden", "from grokfast import _x", "from grokfast.ops._native import call",
        "from grokfast.ops import _native", "import grokfast.runs\ngrokfast.runs._x()",
        "from grokfast import runs\nruns._x()", "def f():\n from grokfast.runs import _x",
    ):  # fmt: skip
        assert list(_foreign_names("fisher/engine.py", ast.parse(source)))
    for source in (
        "from grokfast._checks import nearest", "from grokfast import _checks", "from grokfast.fisher import engine",
        "from os import _exit", "import grokfast.runs\nself._x()",
    ):  # fmt: skip
        assert not list(_foreign_names("fisher/plan.py", ast.parse(source)))
    assert not list(_foreign_names("ops/mlp.py", ast.parse("from grokfast.ops._native import call")))


def test_nothing_imports_the_root():
    for path, tree in _modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == "grokfast" and path != "__init__.py":
                for name in node.names:
                    module = importlib.import_module(f"grokfast.{name.name}")
                    assert module.__name__ == f"grokfast.{name.name}", path
            if isinstance(node, ast.Import):
                assert "grokfast" not in [name.name for name in node.names], path


# Options.

DOORS = [
    fisher_diag, fisher_plan, fisher_inner, fisher_gram, fisher_vector_product, FisherPlan.__call__, quench,
    grokfast.ising.ising_dataset,
    grokfast.train_runs, grokfast.training.train_runs, grokfast.IsingSampler.__init__,
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__qualname__)
def test_options_are_in_the_signature_and_documented(door):
    parameters = inspect.signature(door).parameters
    assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    hints = typing.get_type_hints(door)
    text = inspect.getdoc(grokfast.IsingSampler if door.__name__ == "__init__" else door)
    shared = "arguments as in :func:`grokfast.fisher.fisher_diag`" in text
    for name in parameters:
        if name != "self":
            assert name in hints
            assert shared or f"    {name}: " in text, name


def test_options_have_the_defaults_that_are_documented():
    defaults = {name: p.default for name, p in inspect.signature(fisher_diag).parameters.items()}
    assert defaults["kind"] == "exact"
    assert (defaults["samples"], defaults["batch_size"], defaults["progress"]) == (1, None, False)
    sampler = inspect.signature(grokfast.IsingSampler).parameters
    assert sampler["seed"].default is inspect.Parameter.empty
    assert sampler["J"].default == 1.0


def test_a_wrong_option_is_named_with_those_that_there_are():
    model, x = torch.nn.Linear(3, 2), torch.zeros(4, 3)
    with pytest.raises(
        OptionError, match=r"fisher_diag has no option 'batchsize'; did you mean 'batch_size'\?; it has kind, likelih"
    ):
        fisher_diag(model, x, batchsize=2)
    with pytest.raises(TypeError, match=r"FisherPlan\.__call__ has no option 'kind'; it has mask, params, reduction"):
        fisher_plan(model, x)(x, kind="exact")
    with pytest.raises(InputError, match="IsingSampler needs the option seed"):
        grokfast.IsingSampler(4, 2.0)
    with pytest.raises(OptionError, match=r"IsingSampler has no option 'boundry'; did you mean 'boundary'\?"):
        grokfast.IsingSampler(4, 2.0, seed=0, boundry="open")
    with pytest.raises(OptionError, match=r"train_runs has no option 'thread'; did you mean 'threads'\?.*progress"):
        grokfast.train_runs([], "nowhere", thread=2)


class _Options(typing.TypedDict, total=False):
    colour: typing.Annotated[str | None, None]
    size: typing.Required[int]


def test_a_function_gets_every_option():
    @takes_options
    def draw(what: str, *, twice: bool = False, **options: typing.Unpack[_Options]) -> tuple[object, ...]:
        return what, twice, options

    assert draw("a", size=3) == ("a", False, {"colour": None, "size": 3})
    assert draw(what="b", twice=True, colour="red", size=1) == ("b", True, {"colour": "red", "size": 1})
    assert str(inspect.signature(draw)).startswith(
        "(what: 'str', *, twice: 'bool' = False, colour: 'str | None' = None, size: 'int')"
    )
    with pytest.raises(OptionError, match="draw needs the option size"):
        draw("a")
    with pytest.raises(OptionError, match="has no option 'form'; it has twice, colour, size"):
        draw("a", size=1, form=2)
    with pytest.raises(TypeError, match="positional"):
        draw("a", "red", size=1)
    (one, other) = (draw("a", size=1)[2] for _ in range(2))
    assert one is not other
