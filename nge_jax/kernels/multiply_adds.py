"""Counts the multiply-adds of a function from its program: those of convolutions and products of matrices."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def count(function: Callable[..., Any], *arguments: Any) -> int:
    """Counts for arguments of these shapes. Of the forms for platforms the library's counts; a loop counts once."""
    return sum(map(_of_equation, _equations(jax.make_jaxpr(function)(*arguments).jaxpr)))


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Lists the equations of a program and of the programs that it calls."""
    for equation in jaxpr.eqns:
        yield equation
        params = equation.params
        if "branches" in params:
            yield from _equations(params["branches"][-1].jaxpr)
            continue
        for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
            inner = params.get(name)
            if inner is not None:
                yield from _equations(inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner)
                break


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
        return math.prod(out) * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, out = equation.invars[1].aval.shape, equation.outvars[0].aval.shape
        outputs = kernel[params["dimension_numbers"].rhs_spec[0]]
        return math.prod(out) * math.prod(kernel) // outputs
    return 0
