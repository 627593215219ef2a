"""Genotypes that a Python file assigns at its top level, as an import of the file would leave them; nothing is run.

The assignments are followed in their order, so that the last one counts. An alias (`BEST = DARTS_V2`) takes the value
that the other name has on that line. Comments, strings, functions, `if False:` and `if __name__ == "__main__":` assign
nothing. A name that a loop, an unknown condition or a method changes has no value here. It is refused by its line.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nge_jax.errors import GenotypeError
from nge_jax.space.formats import literals, records

UNNAMED = ""  # the name of a cell that stands alone, assigned to no name
CHANGING = {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort", "update"}
REASONS: dict[type[ast.stmt], str] = {
    **dict.fromkeys((ast.Import, ast.ImportFrom), "imported"),
    **dict.fromkeys((ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), "a function or a class"),
    **dict.fromkeys((ast.For, ast.While), "changed by a loop"),
    ast.Delete: "deleted",
}


class Binding(NamedTuple):
    """Holds what a name stands for after the last line that was followed.

    Attributes:
        value: as `literals.evaluate` returns it; None where there is a problem.
        problem: why the name has no value here; "" where it has one.
        is_cell: whether the value is a cell, or would be one but for the problem.
    """

    value: Any
    problem: str = ""
    is_cell: bool = False


Scope = dict[str, Binding]


def read(text: str, name: str = "") -> Any:
    """Returns the value of a name, or of the one cell in a Python file.

    Raises:
      GenotypeError: the text is no Python, has no such name or several cells, or the value cannot be read.
    """
    return _choose(_run(literals.parse(text), {}), name)


def find(text: str, name: str = "") -> Any:
    """Returns what `read` does, or None where the text is no Python or has no cell at its top level."""
    try:
        scope = _run(literals.parse(text), {})
    except GenotypeError:
        return None
    return _choose(scope, name) if any(binding.is_cell for binding in scope.values()) else None


def _choose(scope: Mapping[str, Binding], name: str) -> Any:
    cells = {known: binding for known, binding in scope.items() if binding.is_cell}
    names = [known for known in cells if known != UNNAMED]
    if name:
        if name not in scope:
            expected = f"one of {', '.join(names[:20])}" if names else f"{name} = Genotype(...)"
            raise GenotypeError(f"genotype: found no {name} at the top level, expected {expected}")
        chosen = scope[name]
    elif not cells:
        raise GenotypeError(
            "genotype: found no cell at the top level, expected NAME = Genotype(normal=[...], ...)"
        )
    else:
        if any(cells[known] != cells[names[0]] for known in names):
            listed = ", ".join(names[:8])
            raise GenotypeError(
                f"genotype: found {len(names)} cells, {listed}; name one: FILE:{names[0]}"
            )
        chosen = cells[names[0] if names else UNNAMED]
    if chosen.problem:
        raise GenotypeError(chosen.problem)
    return chosen.value


def _run(body: Sequence[ast.stmt], scope: Scope) -> Scope:
    """Follows statements and changes the scope as running them would."""
    for statement in body:
        match statement:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    _assign(target, value, scope)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                _assign(target, value, scope)
            case ast.AnnAssign():
                pass
            case ast.Expr(value=value):
                _follow_expression(value, scope)
            case ast.If(test=test, body=then, orelse=otherwise):
                truth = _truth(test, scope)
                if truth is None:
                    _forget([*then, *otherwise], "set by a condition", scope)
                else:
                    _run(then if truth else otherwise, scope)
            case ast.Try() | ast.TryStar():
                _run([*statement.body, *statement.orelse], scope)
                _forget(statement.handlers, "set where an exception is handled", scope)
                _run(statement.finalbody, scope)
            case ast.With(body=then):
                _run(then, scope)
            case _:
                _forget([statement], REASONS.get(type(statement), "changed by a statement"), scope)
    return scope


def _assign(target: ast.expr, value: ast.expr, scope: Scope) -> None:
    _forget([value], "changed within an expression", scope)
    if isinstance(target, ast.Name):
        scope[target.id] = _evaluate(value, scope)
    else:
        _forget([target], "set or changed in a part", scope)


def _evaluate(node: ast.expr, scope: Mapping[str, Binding]) -> Binding:
    def value_of(name: str) -> Any:
        if name not in scope:
            return literals.refuse_name(name)
        if scope[name].problem:
            raise GenotypeError(scope[name].problem)
        return scope[name].value

    try:
        value = literals.evaluate(node, value_of)
    except GenotypeError as error:
        problem = str(error).replace("genotype: ", f"genotype, line {node.lineno}: ", 1)
        return Binding(None, problem, literals.is_genotype(node))
    return Binding(value, "", literals.is_genotype(node) or records.is_known(value))


def _follow_expression(node: ast.expr, scope: Scope) -> None:
    """Follows an expression that is a statement: a cell that stands alone, or one that may change a name."""
    alone = _evaluate(node, scope)
    if alone.is_cell:
        scope[UNNAMED] = alone
    else:
        _forget([node], "changed by a method", scope)


def _truth(test: ast.expr, scope: Mapping[str, Binding]) -> bool | None:
    """Returns whether a condition holds on import; None where the file alone does not tell."""
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            truth = _truth(operand, scope)
            return None if truth is None else not truth
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return False
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]):
            return False  # compared with "__main__", which an imported file is not
        case ast.Name(id=name) if name in scope and not scope[name].problem:
            return bool(scope[name].value)
    return None


def _forget(nodes: Sequence[ast.AST], why: str, scope: Scope) -> None:
    """Takes the value of every name that the nodes set, delete or change in a part."""
    for node in nodes:
        for name in _changed_names(node):
            line = getattr(node, "lineno", "?")
            problem = f"genotype, line {line}: found {name} {why}, expected {name} = Genotype(...)"
            scope[name] = Binding(None, problem, name in scope and scope[name].is_cell)


def _changed_names(node: ast.AST) -> Iterator[str]:
    """Lists the names that a node sets, deletes or changes in a part when it runs, but for the bodies of functions."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
            return
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return
        case ast.alias(name=name, asname=other):
            yield other or name.split(".")[0]
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Attribute() | ast.Subscript() if not isinstance(node.ctx, ast.Load):
            yield from _root(node)
        case ast.Call(func=ast.Attribute(value=changed, attr=method)) if method in CHANGING:
            yield from _root(changed)
    for child in ast.iter_child_nodes(node):
        yield from _changed_names(child)


def _root(node: ast.AST) -> Iterator[str]:
    """Yields the name whose part an expression is: "BEST" of `BEST.normal[0]`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id
