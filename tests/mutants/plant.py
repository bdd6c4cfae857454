"""Small mistakes in Python source: each a change of one place in the text, found in the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitXor: ast.BitOr,
}  # fmt: skip
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor", "amin": "amax",
    "amax": "amin", "argmin": "argmax", "argmax": "argmin", "minimum": "maximum", "maximum": "minimum",
    "mean": "sum", "sum": "mean", "zeros": "ones", "zeros_like": "ones_like", "sin": "cos", "cos": "sin",
    "sinh": "cosh", "cosh": "sinh", "logical_and": "logical_or", "logical_or": "logical_and",
}  # fmt: skip
"""Functions and methods that stand for each other; the built-in ``sum`` has no such twin."""


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        file: Of the package, such as measures/gini.py.
        where: The function or class around it.
        at: The first line of its text.
        old: What stands there, on one line.
        new: What stands there instead.
        line: Its first line.
        lines: The lines of its statement, of which a test must run one to notice.
        in_function: Whether it is met when a function is called, not when the file is imported.
        span: Start and end in the text.
        text: What is put there.
    """

    file: str
    where: str
    at: str
    old: str
    new: str
    line: int
    lines: tuple[int, ...]
    in_function: bool
    span: tuple[int, int]
    text: str

    @property
    def name(self) -> tuple[str, str, str, str, str]:
        """What stays when lines move."""
        return self.file, self.where, self.at, self.old, self.new

    def apply(self, source: str) -> str:
        """The source with the mistake."""
        start, end = self.span
        return source[:start] + self.text + source[end:]


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Every mistake that can be planted in a file, in the order of the text."""
    found = _Finder(file, source)
    found.visit(ast.parse(source))
    unique = {(m.span, m.text): m for m in found.mutants}
    return sorted(unique.values(), key=lambda m: (m.span, m.text))


class _Finder(ast.NodeVisitor):
    def __init__(self, file: str, source: str) -> None:
        self.file, self.source, self.mutants = file, source, list[Mutant]()
        self.where: list[str] = []
        self.lines: tuple[int, ...] = ()
        self.in_function = False
        starts = [0]
        for line in source.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        self.starts = starts
        self.rows = source.splitlines(keepends=True)

    def offset(self, line: int, column: int) -> int:
        """Of bytes in a line to characters in the text."""
        return self.starts[line - 1] + len(self.rows[line - 1].encode()[:column].decode())

    def add(self, node: ast.expr | ast.stmt, text: str, new: str = "") -> None:
        """A change of a node into a text, which is named ``new``."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        span = self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)
        old = " ".join(ast.unparse(node).split())
        new = " ".join((new or text).split())
        where, at = ".".join(self.where), self.rows[node.lineno - 1].strip()
        lines = self.lines or (node.lineno,)
        # As many lines as before, so that what follows keeps its place.
        text = text.removesuffix(")") + "\n" * (node.end_lineno - node.lineno) + ")" * text.endswith(")")
        mutant = Mutant(self.file, where, at, old, new, node.lineno, lines, self.in_function, span, text)
        self.mutants.append(mutant)

    def replace(self, node: ast.expr, other: ast.expr) -> None:
        text = ast.unparse(other)
        plain = isinstance(other, ast.Constant | ast.Name | ast.Attribute | ast.Call | ast.Subscript)
        self.add(node, text if plain and node.lineno == node.end_lineno else f"({text})", new=text)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            self.statement(node)
            return
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            return
        for change in _changes(node):
            assert isinstance(node, ast.expr)
            self.replace(node, change)
        self.generic_visit(node)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal | ast.Assert | ast.Pass):
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            self.definition(node)
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        before, self.lines = self.lines, _header(node)
        self.changed_statement(node)
        if isinstance(node, ast.AnnAssign):
            if node.value is not None:
                self.visit(node.value)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            pass  # a docstring
        elif not isinstance(node, ast.Raise) and not _is_names(node):
            self.generic_visit(node)
        self.lines = before

    def changed_statement(self, node: ast.stmt) -> None:
        dropped = isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break | ast.Delete)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
            dropped = True
        if dropped:
            self.add(node, "pass")
        if isinstance(node, ast.AugAssign):
            other = BINARY.get(type(node.op))
            if other is not None:
                text = ast.unparse(ast.AugAssign(target=node.target, op=other(), value=node.value))
                self.add(node, text)
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            names = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id in names:
                self.add(node, "pass")  # x = f(x)
            if isinstance(target, ast.Subscript):
                self.add(node, "pass")
        if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
            self.add(node, "return None")
        if isinstance(node, ast.If | ast.While):
            test = node.test
            if not isinstance(test, ast.UnaryOp | ast.Compare):
                self.replace(test, ast.UnaryOp(op=ast.Not(), operand=test))

    def definition(self, node: ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) -> None:
        if any("jit" in ast.unparse(d) or "overload" in ast.unparse(d) for d in node.decorator_list):
            return  # compiled: another kind of tool
        self.where.append(node.name)
        before, self.lines = self.lines, ()
        if not isinstance(node, ast.ClassDef):
            for default in [*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)]:
                self.visit(default)
        inside, self.in_function = self.in_function, self.in_function or not isinstance(node, ast.ClassDef)
        for child in node.body:
            self.visit(child)
        self.lines, self.in_function = before, inside
        self.where.pop()


def _header(node: ast.stmt) -> tuple[int, ...]:
    """The lines of a statement without those of the block under it."""
    end = node.end_lineno or node.lineno
    body = getattr(node, "body", None)
    if body:
        end = max(node.lineno, body[0].lineno - 1)
    return tuple(range(node.lineno, end + 1))


def _is_names(node: ast.stmt) -> bool:
    """``__all__`` and what only names a type."""
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"


def _changes(node: ast.AST) -> Iterator[ast.expr]:
    """What may stand in place of an expression."""
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY and not _is_text(node):
        yield ast.BinOp(left=node.left, op=BINARY[type(node.op)](), right=node.right)
    elif isinstance(node, ast.Compare):
        for k, operation in enumerate(node.ops):
            ops = list(node.ops)
            ops[k] = COMPARED[type(operation)]()
            yield ast.Compare(left=node.left, ops=ops, comparators=node.comparators)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(op=other, values=node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(test=node.test, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.Constant):
        yield from _constants(node.value)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.comprehension) and node.ifs:
        return


def _constants(value: object) -> Iterator[ast.expr]:
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(value * 2 if value else 1.0)


def _calls(node: ast.Call) -> Iterator[ast.expr]:
    """Another function, two arguments swapped, an option that goes nowhere."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    other = NAMES.get(name)
    if other is not None and not (isinstance(node.func, ast.Name) and name in ("sum", "mean")):
        func = (
            ast.Attribute(value=node.func.value, attr=other, ctx=ast.Load())
            if isinstance(node.func, ast.Attribute)
            else ast.Name(id=other, ctx=ast.Load())
        )
        yield ast.Call(func=func, args=node.args, keywords=node.keywords)
    plain = [not isinstance(a, ast.Starred) for a in node.args]
    if len(node.args) >= 2 and all(plain[:2]) and name not in ("isinstance", "hasattr", "getattr", "setattr"):
        args = [node.args[1], node.args[0], *node.args[2:]]
        yield ast.Call(func=node.func, args=args, keywords=node.keywords)
    if name in ("abs", "sqrt", "square", "log", "exp") and len(node.args) == 1 and not node.keywords:
        yield node.args[0]
    for k, keyword in enumerate(node.keywords):
        if keyword.arg not in (None, "dtype", "device", "strict"):
            yield ast.Call(func=node.func, args=node.args, keywords=[*node.keywords[:k], *node.keywords[k + 1 :]])


def _is_text(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(
        isinstance(s, ast.JoinedStr) or (isinstance(s, ast.Constant) and isinstance(s.value, str)) for s in sides
    )
