"""The training step's benchmark: devices agree, all-reduces are told apart, and PyTorch's network has our size."""

import importlib.util
import os
import sys

import jax
import pytest

from measure import collectives
from measure.process import Process
from nge_jax.cost import part_costs
from nge_jax.networks.network import cifar_network
from nge_jax.space import genotype
from tests.helpers.small_training import SMALL

# An outer loop over steps sums the gradient. An inner loop over three cells sums the statistics of both passes.
HLO = """HloModule phase

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(f32[] %x, f32[] %y)
}

%cell (c: (s32[], f32[2,4])) -> (s32[], f32[2,4]) {
  %f = f32[2,4]{1,0} all-reduce(%a), to_apply=%add, metadata={op_name="jit(f)/while/body/jvp(Network)/psum"}
  %b = (f32[2,4]{1,0}, f32[3]{0}) all-reduce(%a, %c), to_apply=%add, metadata={op_name="jit(f)/(transpose(jvp(Network))/psum:jvp(Network)/psum)"}
}

%called (c: f32[100]) -> f32[100] {
  ROOT %g = f32[100]{0} all-reduce-start(%c), to_apply=%add, metadata={op_name="jit(f)/while/body/psum"}
}

%step (s: (s32[], f32[100])) -> (s32[], f32[100]) {
  %cells = (s32[], f32[2,4]) while(%s), condition=%less, body=%cell, backend_config={"known_trip_count":{"n":"3"}}
  %g = f32[100]{0} call(%s), to_apply=%called
}

%less (s: (s32[], f32[100])) -> pred[] {
  ROOT %p = pred[] constant(false)
}

ENTRY %main (s: (s32[], f32[100])) -> (s32[], f32[100]) {
  ROOT %steps = (s32[], f32[100]) while(%s), condition=%less, body=%step
}
"""  # noqa: E501


def test_all_reduces_count_as_often_as_a_step_runs_them():
    found = collectives.all_reduces(HLO)
    assert found == {
        "gradient": (1, 100),
        "statistics forward": (3, 24),
        "statistics backward": (3, 33),
    }
    unknown = HLO.replace('backend_config={"known_trip_count":{"n":"3"}}', "")
    with pytest.raises(ValueError, match="unknown length"):
        collectives.all_reduces(unknown)


def table(lines):
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]


@pytest.mark.whole
def test_devices_agree_and_the_gradient_crosses_them_once(python, tmp_path):
    (tmp_path / "cell.json").write_text(genotype.to_json(SMALL))
    flags = ["--cells=1", "--channels=4", "--batch_size=4", "--losses=2", "--auxiliary_weight=0"]
    cell = f"--genotype={tmp_path / 'cell.json'}"
    script = "experiments/benchmarks/train_step.py"
    run = python(script, "--devices=1,2", cell, *flags, timeout=600)
    assert run.returncode == 0, run.stderr
    head, *losses, all_reduces, one, two = table(run.stdout.splitlines())
    assert head == ["step", "loss on 1", "loss on 2"]
    values = [list(map(float, line[1:])) for line in losses]
    assert [line[0] for line in losses] == ["0", "1"]
    assert values[0][0] != values[1][0]
    for on_one, on_two in values:
        assert on_one == pytest.approx(on_two, rel=1e-5)
    model = cifar_network(SMALL, cells=1, channels=4)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jax.numpy.zeros((1, 32, 32, 3)), train=True)
    )
    weights, running = (
        sum(leaf.size for leaf in jax.tree.leaves(shapes[name]))
        for name in ("params", "batch_stats")
    )
    assert two[0] == "2" and two[1] == f"1; {weights + running + 3:,}"
    assert all_reduces[1].startswith("gradient") and one[1] == "0; 0"


@pytest.mark.parametrize(
    "devices",
    ["3", *(pytest.param(text, marks=pytest.mark.whole) for text in ("0", "two", "1,8"))],
)
def test_devices_that_do_not_divide_the_batch_are_refused(devices, python):
    script = "experiments/benchmarks/train_step.py"
    run = python(script, f"--devices={devices}", "--batch_size=4")
    assert run.returncode == 1
    assert (
        f"--devices: found {devices}, expected divisors of a batch of 4" in run.stdout + run.stderr
    )


def torch_python():
    """Returns a Python with torch: NGE_TORCH_PYTHON, or the running Python."""
    if "NGE_TORCH_PYTHON" in os.environ:
        return os.environ["NGE_TORCH_PYTHON"]
    if importlib.util.find_spec("torch") is None:
        pytest.skip("no torch here, and NGE_TORCH_PYTHON is not set")
    return sys.executable


@pytest.mark.parametrize("auxiliary", [0, 0.4])
@pytest.mark.parametrize("name", ["DARTS_V2", "SNAS_aggressive", "MdeNAS"])
def test_pytorchs_network_has_as_many_parameters_and_takes_a_step(name, auxiliary):
    found = genotype.load(name)
    flags = {"batch_size": 2, "channels": 6, "cells": 3, "drop_path": 0.3}
    flags |= {"genotype": genotype.to_json(found), "auxiliary_weight": auxiliary}
    command = [torch_python(), "-m", "pytorch.network"]
    with Process(command, env={}, limit_gb=8, limit_s=120, **flags) as process:
        assert process.seconds(1) > 0
    model = cifar_network(found, cells=3, channels=6, auxiliary=auxiliary > 0)
    parts = part_costs(model, (32, 32, 3), train=True)
    assert process.ready["parameters"] == sum(cost.parameters for cost in parts.values())
