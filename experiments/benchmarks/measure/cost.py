"""Counts flops and bytes of a compiled program, with every iteration of its loops.

XLA's cost analysis counts the body of a loop once. This module multiplies the cost of every body by the number of
iterations. XLA's cost analysis gives the cost of a body, with the body as a module's entry. XLA often knows the
number of iterations. If a bound is computed while the program runs, this module takes the mean over such loops.
`mean_iterations` finds this mean: it runs the traced program on its known integers alone.
"""

import re
from collections.abc import Iterator

import jax
import numpy as np
from jax.extend.core import Literal, jaxprs_in_params
from jaxlib import _hlo, _jax

from nge_jax.export.onnx_graph import scan_counts

KEYS = ("flops", "bytes accessed")

_COMPUTATION = re.compile(r"^(ENTRY )?%(\S+) \(.*?^\}$", re.MULTILINE | re.DOTALL)
_WHILE = re.compile(r" while\(.*?\bbody=%([\w.\-]+)")
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_REFERENCE = re.compile(
    r"\b(?:calls|to_apply|body|condition|\w+_computations?)=\{?(%[\w.\-]+(?:, %[\w.\-]+)*)"
)
_SMALL = 64  # most elements of an array whose value is tracked


def cost(compiled: jax.stages.Compiled, unknown_iterations: float) -> dict[str, float]:
    """Counts flops and bytes accessed by a program, by `KEYS`.

    Args:
        compiled: the program. An outermost loop of unknown length runs over the steps of a dispatch. It counts once,
            which gives the cost of one step.
        unknown_iterations: iterations of the inner loops whose length XLA does not know.
    """
    (module,) = compiled.runtime_executable().hlo_modules()
    return text_cost(module.to_string(), unknown_iterations)


def text_cost(text: str, unknown_iterations: float) -> dict[str, float]:
    """Counts flops and bytes as `cost` does, from the text of an HLO module."""
    client = jax.devices()[0].client
    bodies, entry = computations(text)
    # Drops the entry's layout, which does not fit another entry, and the names of files before the computations.
    head = (
        text[: text.index("\n")].split(",")[0]
        + "\n"
        + text[text.index("\n") : _COMPUTATION.search(text).start()]
    )
    references = {
        name: [ref.strip("%") for refs in _REFERENCE.findall(body) for ref in refs.split(", ")]
        for name, body in bodies.items()
    }
    done = {}

    def reachable(name, seen):
        if name not in seen:
            for reference in references[name]:
                reachable(reference, seen)
            seen[name] = None  # HLO's text needs callees first
        return seen

    def counted_once(name):
        parts = [bodies[part] for part in reachable(name, {})]
        module = _hlo.hlo_module_from_text(head + "\n\n".join([*parts[:-1], "ENTRY " + parts[-1]]))
        analysis = _jax.hlo_module_cost_analysis(client, module)
        return np.array([analysis.get(key, 0.0) for key in KEYS])

    def once_and_total(name, is_entry=False):
        if name not in done:
            once = total = counted_once(name)
            for body, known in loops(bodies, name):
                iterations = known or (1 if is_entry else unknown_iterations)
                body_once, body_total = once_and_total(body)
                total = total + iterations * body_total - body_once
            done[name] = once, total
        return done[name]

    return dict(zip(KEYS, map(float, once_and_total(entry, is_entry=True)[1]), strict=True))


def computations(text: str) -> tuple[dict[str, str], str]:
    """Splits the text of an HLO module into computations by name. Also returns the name of the entry computation."""
    matches = list(_COMPUTATION.finditer(text))
    (entry,) = (match[2] for match in matches if match[1])
    return {match[2]: match[0].removeprefix("ENTRY ") for match in matches}, entry


def lines(bodies: dict[str, str], name: str) -> Iterator[str]:
    """Yields the lines of a computation and of all computations that it calls, except the bodies of loops."""
    for line in bodies[name].split("\n"):
        yield line
        if not _WHILE.search(line):
            for references in _REFERENCE.findall(line):
                for reference in references.split(", "):
                    yield from lines(bodies, reference.strip("%"))


def loops(bodies: dict[str, str], name: str) -> Iterator[tuple[str, int | None]]:
    """Yields the loops in `lines`: the name of the body and, if known, the number of iterations."""
    for line in lines(bodies, name):
        loop = _WHILE.search(line)
        if loop:
            known = _TRIP_COUNT.search(line)
            yield loop[1], known and int(known[1])


def mean_iterations(traced, *known) -> float:
    """Finds the mean number of iterations of the inner loops whose bounds are computed.

    Args:
        traced: a closed jaxpr.
        known: values of the jaxpr's last arguments. These values and constants decide the length of every loop.
            One iteration of the outermost loop is enough.

    Raises:
        ValueError: a loop's length follows from an argument that is not known.
    """
    entries = iterations = 0

    def run(jaxpr, consts, args, depth):
        nonlocal entries, iterations
        values = dict(zip(jaxpr.constvars, consts, strict=True))
        values |= dict(zip(jaxpr.invars, args, strict=True))

        def value(atom):
            return atom.val if isinstance(atom, Literal) else values.get(atom)

        for eqn in jaxpr.eqns:
            name, params = eqn.primitive.name, eqn.params
            ins = [value(atom) for atom in eqn.invars]
            outs = [None] * len(eqn.outvars)
            inner = list(jaxprs_in_params(params))
            if name == "while":
                outs, rounds = while_loop(params, ins, depth)
                entries += depth > 0
                iterations += rounds * (depth > 0)
            elif name == "scan" and _has_loop(params["jaxpr"].jaxpr):
                outs = scan(params, ins, depth)
            elif name == "cond" and ins[0] is not None:
                branch = params["branches"][int(ins[0])]
                outs = run(branch.jaxpr, branch.consts, ins[1:], depth)
            elif len(inner) == 1 and name != "scan" and len(inner[0].invars) == len(ins):
                consts = next((p.consts for p in params.values() if hasattr(p, "consts")), ())
                outs = run(inner[0], consts, ins, depth)
            elif ins and not inner and all(i is not None for i in ins) and _is_arithmetic(eqn):
                outs = eqn.primitive.bind(*ins, **params)
                outs = outs if eqn.primitive.multiple_results else [outs]
            values |= dict(zip(eqn.outvars, outs, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def while_loop(params, ins, depth):
        cond, body = params["cond_jaxpr"], params["body_jaxpr"]
        count = params["cond_nconsts"], params["body_nconsts"]
        cond_consts, body_consts, carry = (
            ins[: count[0]],
            ins[count[0] : sum(count)],
            ins[sum(count) :],
        )
        rounds = 0
        while True:
            (goes_on,) = run(cond.jaxpr, cond.consts, [*cond_consts, *carry], depth + 1)
            if goes_on is None:
                raise ValueError("a loop's length does not follow from the known arguments")
            if not goes_on:
                return carry, rounds
            carry = run(body.jaxpr, body.consts, [*body_consts, *carry], depth + 1)
            rounds += 1

    def scan(params, ins, depth):
        consts, carry = scan_counts(params)
        fixed, carried = ins[:consts], ins[consts : consts + carry]
        rows = ins[consts + carry :]
        body = params["jaxpr"]
        order = range(params["length"])
        for i in reversed(order) if params["reverse"] else order:
            row = [None if r is None else r[i] for r in rows]
            outs = run(body.jaxpr, body.consts, [*fixed, *carried, *row], depth + 1)
            carried = outs[:carry]
        return [*carried, *[None] * (len(outs) - carry)]

    unknown = [None] * (len(traced.jaxpr.invars) - len(known))
    consts = [c if np.size(c) <= _SMALL else None for c in traced.consts]
    run(traced.jaxpr, consts, [*unknown, *known], 0)
    return iterations / entries if entries else 1.0


def _has_loop(jaxpr):
    return any(
        eqn.primitive.name == "while" or any(map(_has_loop, jaxprs_in_params(eqn.params)))
        for eqn in jaxpr.eqns
    )


def _is_arithmetic(eqn):
    """Tells whether an equation may decide a loop's length: it computes few integers or booleans on one device."""
    avals = [v.aval for v in eqn.outvars]
    return "axis_index_groups" not in eqn.params and all(
        aval.size <= _SMALL and np.dtype(aval.dtype).kind in "iub" for aval in avals
    )
