"""Phases become programs that compute what the phases compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.devices import parallel
from nge_jax.runtime import task
from nge_jax.search import runner as search_runner
from nge_jax.segment import runner as segment_runner
from nge_jax.settings.configs import load_config
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


class GpuLowered:
    """Compiles for a GPU. `refuses` says where an error comes from: "compiler", "device" or nowhere."""

    def __init__(self, refuses):
        self.refuses, self.tried = refuses, []

    def compile(self, compiler_options=None):
        if compiler_options and self.refuses == "compiler":
            raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: no valid enum value\nmore")
        return compiler_options or "without"

    def try_out(self, program):
        self.tried.append(program)
        if self.refuses == "device":
            raise jax.errors.JaxRuntimeError("INTERNAL: capture refused\nmore")


@pytest.mark.parametrize(
    "refuses, said",
    [("", ""), ("compiler", "INVALID_ARGUMENT: no valid enum value"), ("device", "INTERNAL: capture refused")],
)  # fmt: skip
def test_a_gpu_without_larger_command_buffers_gets_a_program_without_them(
    refuses, said, monkeypatch, capsys
):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    lowered = GpuLowered(refuses)
    program = parallel.compile_lowered(lowered, lowered.try_out)
    assert program == ("without" if refuses else parallel.GPU_OPTIONS)
    assert len(lowered.tried) == (refuses != "compiler")
    line = f"compiled without larger command buffers: {said}\n" if said else ""
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    "platform, flags, options",
    [
        ("gpu", "", {"xla_gpu_enable_command_buffer", "xla_gpu_graph_min_graph_size"}),
        ("gpu", "--xla_gpu_enable_command_buffer=", {"xla_gpu_graph_min_graph_size"}),
        ("tpu", "", set()),
    ],
)
def test_flags_of_the_user_come_first(platform, flags, options, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert set(parallel.compiler_options()) == options


def test_a_program_is_tried_on_a_copy_of_the_state(monkeypatch):
    batches, key = parallel.divided(jnp.arange(4.0)[None]), parallel.replicated(jax.random.key(0))
    state = parallel.replicated(jnp.ones(()))
    tried = []

    def compile_lowered(lowered, try_on_gpu):
        program = lowered.compile()

        def spy(*arguments):
            tried.append(program(*arguments))
            return tried[-1]

        try_on_gpu(spy)
        return program

    monkeypatch.setattr(parallel, "compile_lowered", compile_lowered)
    arguments = state, batches + 2, key, 0, 0
    (program,) = parallel.compile_ahead([phase_that_adds(5.0)], [arguments])
    assert tried == [11.0] and program(*arguments[:3], 0, 2) == 1 + 5 * (2 + 3)


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
            function(load_config("search_digits", "gradient,smoke"), tmp_path / "run")
        assert jnp.zeros(()).dtype == jnp.float64
