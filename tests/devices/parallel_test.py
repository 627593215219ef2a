"""Phases become programs that compute what the phases compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.devices import parallel
from nge_jax.runtime import task
from nge_jax.search import runner as search_runner
from nge_jax.segment import runner as segment_runner
from nge_jax.train import runner as train_runner


def phase_that_adds(factor):
    def phase(state, batches, key, start, stop):
        return jax.lax.fori_loop(start, stop, lambda i, s: s + factor * batches[i], state)

    return parallel.on_all_devices(phase, 0)


def test_programs_compiled_ahead_compute_what_their_phases_do():
    phases = [phase_that_adds(factor) for factor in (1.0, 2.0, 3.0)]
    batches, key = parallel.divided(jnp.arange(4.0)[None]), parallel.replicated(jax.random.key(0))

    def state():
        return parallel.replicated(jnp.zeros(()))

    programs = parallel.compile_ahead(phases, [(state(), batches, key, 0, 0)] * 3)
    for phase, program, factor in zip(phases, programs, (1.0, 2.0, 3.0), strict=True):
        assert program(state(), batches, key, 1, 4) == factor * 6
        np.testing.assert_array_equal(
            program(state(), batches, key, 1, 4), phase(state(), batches, key, 1, 4)
        )


def test_a_jaxlib_without_the_options_compiles_without_them():
    class Lowered:
        def compile(self, compiler_options=None):
            if compiler_options:
                raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: No such compile option")
            return "program"

    assert parallel.compile_lowered(Lowered()) == "program"


@pytest.mark.parametrize("function", [
    search_runner.run, train_runner.run, segment_runner.run, train_runner.evaluate_only, segment_runner.evaluate_only,
], ids=lambda function: f"{function.__module__}.{function.__name__}")  # fmt: skip
def test_runs_compute_in_32_bits_whatever_jax_is_told(function, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop(jnp.zeros(()).dtype)

    monkeypatch.setattr(task, "check_complete", stop)  # each function asks it first
    with jax.enable_x64(True):
        with pytest.raises(Stop, match="^float32$"):
            function(None, tmp_path / "run")
        assert jnp.zeros(()).dtype == jnp.float64
