"""The benchmark prints a table, and counts the work of every iteration of a loop."""

import re
import sys

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from measure import cost, roofline
from measure.process import Killed, Process

SIZE = 32
PRODUCT = 2 * SIZE**3  # flops of a product of two matrices


def looped(x, start, stop):
    """Loops as the supernet loops over edges: over steps, then sources, then targets from a computed target on."""

    def along_edge(_, x):
        return jnp.sin(x @ x)

    def from_source(source, x):
        return lax.fori_loop(jnp.maximum(source + 1, 2), 6, along_edge, x)

    def step(_, x):
        x = lax.fori_loop(0, 5, from_source, x)
        return lax.scan(lambda x, _: (jnp.cos(x @ x), None), x, None, length=3)[0]

    return lax.fori_loop(start, stop, step, x)


def unrolled(x):
    for _ in range(14):
        x = jnp.sin(x @ x)
    for _ in range(3):
        x = jnp.cos(x @ x)
    return x


def test_a_loops_work_counts_as_often_as_it_runs():
    x = jnp.ones((SIZE, SIZE))
    traced = jax.jit(looped).trace(x, 0, 2)
    iterations = cost.mean_iterations(traced.jaxpr, 0, 1)
    assert iterations == 14 / 5
    once = traced.lower().compile()
    flat = cost.cost(jax.jit(unrolled).lower(x).compile(), 1)
    assert flat["flops"] == 17 * PRODUCT
    assert once.cost_analysis()["flops"] < 3 * PRODUCT  # XLA counts a loop's body once
    total = cost.cost(once, iterations)
    # The loops' counters add a few operations.
    assert total["flops"] == pytest.approx(flat["flops"], rel=0.01)
    assert total["bytes accessed"] == pytest.approx(flat["bytes accessed"], rel=0.1)


def test_a_loop_whose_length_is_not_known_is_refused():
    traced = jax.jit(looped).trace(jnp.ones((SIZE, SIZE)), 0, 2)
    with pytest.raises(ValueError, match="length"):
        cost.mean_iterations(traced.jaxpr)


def test_the_roofline_is_the_slower_of_arithmetic_and_memory():
    chip = roofline.Chip("", "float32", flops=10.0, bandwidth=2.0)
    assert roofline.step_seconds(chip, 100.0, 10.0) == 10
    assert roofline.step_seconds(chip, 10.0, 10.0) == 5


@pytest.mark.parametrize(
    "limits", [{"limit_gb": 0.1, "limit_s": 60}, {"limit_gb": 8, "limit_s": 1}]
)
def test_a_process_over_its_limit_is_ended(limits):
    greedy = "import time; kept = bytearray(300_000_000); time.sleep(60)"
    with pytest.raises(Killed, match=r"killed at \d+\.\d GB after \d+ s"):  # noqa: SIM117
        with Process([sys.executable, "-c", greedy], env={}, **limits):
            pass


@pytest.mark.whole
def test_the_table_has_every_figure(python):
    flags = [
        "--cells=1",
        "--channels=2",
        "--batch_size=2",
        "--dispatches=2",
        "--steps_per_dispatch=1",
    ]
    script = "experiments/benchmarks/search_step.py"
    run = python(script, *flags, "--variants=ours", "--steps=embedding")
    assert run.returncode == 0, run.stderr
    head, _, *rows = (line for line in run.stdout.splitlines() if line.startswith("|"))
    assert head == "| figure (embedding) | ours |"
    cells = dict(row.strip("| ").split(" | ") for row in rows)
    assert len(cells) == 8
    for name, cell in cells.items():
        numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", cell)]
        assert numbers and all(n >= 0 for n in numbers), (name, cell)
    assert all(float(cells[name]) > 0 for name in ("images/s", "GFLOP a step"))
