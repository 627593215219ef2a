"""Values of Python expressions, taken from the syntax tree: what programs print, and what a Python file assigns.

A program prints `('sep_conv_3x3', np.int64(0))`, `range(2, 6)` or `array([2, 3])`. This module gives such an
expression its value and refuses every other call. Nothing is run.
"""

import ast
import contextlib
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from nge_jax.errors import GenotypeError

FIELDS: tuple[str, ...] = ("normal", "normal_concat", "reduce", "reduce_concat")
LONGEST = (
    2**20
)  # characters of a text that is parsed as Python; the parser needs about 100 bytes for each
LARGEST_RANGE = 100
ARRAYS = {"array", "asarray", "tensor"}
# Scalars of NumPy and PyTorch, as they are printed: np.int64(0), tensor(0).
SCALARS = {"int", "float", "str", "str_", "bool_", "tensor"} | {
    f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)
}


def parse(text: str) -> list[ast.stmt]:
    """Returns the statements of a text.

    Raises:
      GenotypeError: the text is no Python, or is longer than LONGEST.
    """
    reason = f"{len(text):,} characters, expected at most {LONGEST:,}"
    if len(text) <= LONGEST:
        try:
            with warnings.catch_warnings():  # the parser warns of "\d" in a text
                warnings.simplefilter("ignore")
                return ast.parse(text).body
        except SyntaxError as error:
            reason = f"line {error.lineno}: {error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            reason = type(error).__name__
    raise GenotypeError(f"genotype: found no Python of this version ({reason})")


def expression(text: str) -> ast.expr | None:
    """Returns the expression that a text is, or None where the text is something else."""
    with contextlib.suppress(GenotypeError):
        match parse(text.strip()):
            case [ast.Expr(value=node)]:
                return node
    return None


def read(text: str) -> Any:
    """Returns the value of a printed expression.

    Raises:
      GenotypeError: the text is no expression of Python, or has other code than `evaluate` takes.
    """
    node = expression(text)
    if node is not None:
        return evaluate(node)
    raise GenotypeError(f"genotype: found {text[:60]}..., expected an expression of Python")


def refuse_name(name: str) -> Any:
    """Refuses a name in an expression: no name has a value where no file assigns one."""
    raise _error(ast.Name(name))


def evaluate(node: ast.expr, value_of: Callable[[str], Any] = refuse_name) -> Any:
    """Returns the value of an expression; lists and arrays become tuples, `Genotype(...)` a dict of its fields.

    Args:
      node: the expression.
      value_of: returns the value of a name in the expression, or raises GenotypeError.

    Raises:
      GenotypeError: the expression has code that is neither a value nor one of the calls above.
    """
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return tuple(evaluate(part, value_of) for part in parts)
        case ast.Dict(keys=keys, values=values) if all(map(_is_text, keys)):
            names = [key.value for key in keys if isinstance(key, ast.Constant)]
            return {n: evaluate(value, value_of) for n, value in zip(names, values, strict=True)}
        case ast.Name(id=name):
            return value_of(name)
        case ast.Call():
            return _call(node, value_of)
    raise _error(node)


def is_genotype(node: ast.expr) -> bool:
    """Tells whether an expression is a call `Genotype(...)`."""
    return isinstance(node, ast.Call) and _called(node) == "Genotype"


def _call(node: ast.Call, value_of: Callable[[str], Any]) -> Any:
    name = _called(node)
    if name == "Genotype":
        return _genotype(node, value_of)
    values = [evaluate(part, value_of) for part in node.args] if _is_known(name) else []
    match name, values:
        case "range", [*limits] if _is_range(limits) and not node.keywords:
            return tuple(range(*limits))
        case "list" | "tuple", [tuple() as inner]:
            return inner
        case "dict" | "Configuration", []:  # ConfigSpace prints Configuration(values={...})
            given = {str(k.arg): evaluate(k.value, value_of) for k in node.keywords}
            return given.get("values", given)
        case _, [tuple() as inner] if name in ARRAYS:
            return _unboxed(inner)
        case _, [bool() | int() | float() | str() as scalar] if name in SCALARS:
            return scalar
    raise _error(node)


def _genotype(node: ast.Call, value_of: Callable[[str], Any]) -> dict[str, Any]:
    given = [*zip(FIELDS, node.args, strict=False), *((str(k.arg), k.value) for k in node.keywords)]
    if len(node.args) > len(FIELDS) or len({field for field, _ in given}) < len(given):
        raise GenotypeError(
            f"genotype: found {len(node.args) + len(node.keywords)} arguments of Genotype(...), some for no field or "
            f"twice for one, expected {', '.join(FIELDS)}"
        )
    return {field: evaluate(value, value_of) for field, value in given}


def _called(node: ast.Call) -> str:
    """Returns the last part of the called name: "int64" of `np.int64(0)`."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(), attr=name):
            return name
    return ""


def _is_known(name: str) -> bool:
    return name in ARRAYS | SCALARS | {"range", "list", "tuple", "dict", "Configuration"}


def _is_range(limits: Sequence[Any]) -> bool:
    numbers = all(type(limit) is int and 0 <= limit < LARGEST_RANGE for limit in limits)
    return len(limits) in (1, 2, 3) and numbers and limits[2:] != [0]


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _unboxed(value: Any) -> Any:
    """Returns an array's value: NumPy holds ('sep_conv_3x3', 0) as two texts, and the number is read from its text."""
    if isinstance(value, tuple):
        return tuple(map(_unboxed, value))
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,4}", value) else value


def _error(node: ast.expr) -> GenotypeError:
    found = " ".join(ast.unparse(node).split())[:60]
    return GenotypeError(f"genotype: found {found}, expected pairs and numbers")
