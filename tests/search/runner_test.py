"""Algorithm 1: which group each step updates, on how many devices, and that a killed search ends like another."""

import json
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from nge_jax import optim
from nge_jax.data import order as data_order
from nge_jax.devices import parallel
from nge_jax.embedding.model import edge_model
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search.several import mapping
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.supernet.model import make_supernet
from nge_jax.workdir import artifacts
from tests.helpers.small_search import result

# One reduction cell is the smallest network with both kinds of edges, and compiles fastest.
NET = make_supernet(1, 2, 3, image_channels=1)
PREPROCESSING = gradient_steps.Preprocessing((0.5,), (0.25,), pad=1, flip=True)
EDGES = edge_model("nge", "printed")
OPTIMIZER = optim.Optimizer(
    {
        WEIGHTS: optim.sgd(0.1, momentum=0.9, weight_decay=3e-4, clip_norm=5.0),
        EMBEDDING: optim.adam(6e-4, b1=0.5, b2=0.999, weight_decay=1e-3),
    }
)
# A search on the built-in digits that takes seconds: two epochs of 3 + 3 steps.
TINY = [
    "-m",
    "nge_jax.main",
    "--config=configs/search_digits.py:gradient,smoke",
    "--config.network.cells=1",
    "--config.search.images_per_epoch=24",
    "--config.run.steps_per_dispatch=1",
    "--config.run.checkpoint_every_steps=1",
]


@pytest.fixture(scope="module")
def phases():
    weights = gradient_steps.make_weight_phase(
        gradient_steps.make_weight_step(NET, OPTIMIZER, PREPROCESSING)
    )
    embedding = parallel.make_phase(
        gradient_steps.make_embedding_step(NET, EDGES, OPTIMIZER, PREPROCESSING)
    )
    axes = (None, parallel.BATCHES_AXES)
    return {
        WEIGHTS: parallel.on_all_devices(weights, axes),
        EMBEDDING: parallel.on_all_devices(embedding),
    }


def fresh():
    """A state, batches of noise whose brightness is its class, and a key, as a dispatch returns them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 32).astype(np.int32)
    images = rng.integers(0, 80, (32, 8, 8, 1)) + 80 * labels[:, None, None, None]
    images = images.astype(np.uint8)
    order = parallel.by_device(data_order.epoch_order(0, 0, 32, 4, 8))
    state = gradient_steps.init_state(NET, EDGES, OPTIMIZER, 2, jax.random.key(1))
    state, images, labels, key = parallel.replicated((state, images, labels, jax.random.key(2)))
    return state, parallel.Batches(images, labels, order), key


def equal(a, b):
    return jax.tree.map(lambda x, y: bool(np.array_equal(x, y)), a, b)


def test_each_phase_moves_its_group_and_leaves_the_other_bit_for_bit(phases):
    state, batches, key = fresh()
    probs = EDGES.probs(state.params[EMBEDDING])
    # The first steps fill both optimizers' momentum. Momentum and decay move parameters even without a gradient.
    state = phases[WEIGHTS](state, (probs, batches), key, 0, 2)
    state = phases[EMBEDDING](state, batches, key, 0, 2)
    for group, data in ((WEIGHTS, (probs, batches)), (EMBEDDING, batches)):
        before = jax.device_get(state)
        state = phases[group](state, data, key, 2, 4)
        other = ({WEIGHTS, EMBEDDING} - {group}).pop()
        held = equal(before.params[other], state.params[other])
        assert all(jax.tree.leaves(held)), held
        states_before, states = before.opt_state.inner_states, state.opt_state.inner_states
        assert all(jax.tree.leaves(equal(states_before[other], states[other])))
        assert not all(jax.tree.leaves(equal(before.params[group], state.params[group])))
        assert int(state.step) == int(before.step) + 2
        assert float(state.sums[group].count) == float(before.sums[group].count) + 16


def test_many_rows_in_one_dispatch_equal_a_dispatch_for_each(phases):
    state, batches, key = fresh()
    at_once = jax.device_get(phases[EMBEDDING](state, batches, key, 0, 4))
    state, batches, key = fresh()
    for row in range(4):
        state = phases[EMBEDDING](state, batches, key, row, row + 1)
    assert all(jax.tree.leaves(equal(at_once, state)))


def test_the_weights_learn(phases):
    state, batches, key = fresh()
    probs = EDGES.probs(state.params[EMBEDDING])
    losses = []
    for _ in range(12):
        state = state._replace(sums=jax.tree.map(jnp.zeros_like, state.sums))
        state = phases[WEIGHTS](state, (probs, batches), key, 0, 4)
        losses.append(float(state.sums[WEIGHTS].loss / state.sums[WEIGHTS].count))
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.parametrize(
    "platform, seeds",
    [
        ("cuda", 1),
        pytest.param("tpu", 1, marks=pytest.mark.whole),
        pytest.param("cuda", 2, marks=pytest.mark.whole),
    ],
)
def test_the_steps_lower_for_accelerators_with_library_convolutions(platform, seeds):
    net = NET._replace(schedule="together")
    mesh = Mesh(jax.devices()[:1], (parallel.AXIS,))
    state, batches, key = fresh()
    images, labels = batches.images[:8], batches.labels[:8]
    weight_step = gradient_steps.make_weight_step(net, OPTIMIZER, PREPROCESSING)
    embedding_step = gradient_steps.make_embedding_step(net, EDGES, OPTIMIZER, PREPROCESSING)
    probs = EDGES.probs(state.params[EMBEDDING])
    steps = [
        (weight_step, (state, probs, images, labels, key)),
        (embedding_step, (state, images, labels, key)),
    ]
    for step, args in steps[: 3 - seeds]:
        if seeds > 1:
            axes = (mapping.STATE_AXES, *(0,) * (len(args) - 1))
            step = jax.vmap(step, axes, mapping.STATE_AXES)
            several = jax.tree.map(lambda a: jnp.stack([a] * seeds), args)
            args = several[0]._replace(step=state.step), *several[1:]
        everywhere = PartitionSpec()
        on_mesh = jax.shard_map(
            step, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False
        )
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
        exported = jax.export.export(jax.jit(on_mesh), platforms=[platform])(*shapes)
        program = exported.mlir_module()
        # One convolution with many groups computes the depthwise convolutions of an input's four edges for all seeds.
        groups = f"group_count = {8 * seeds}"
        assert f"feature_{groups}" in program or f"batch_{groups}" in program
        assert "stablehlo.while" not in program


@pytest.mark.whole
def test_four_devices_with_synchronized_statistics_give_the_gradients_of_one(python):
    script = """
        import jax, jax.numpy as jnp, numpy as np, optax
        from nge_jax.search.steps.relaxation import draw
        from nge_jax.space.mixture import Mixture
        from nge_jax.supernet.model import make_supernet
        net = make_supernet(1, 2, 3, image_channels=1)
        keys = jax.random.split(jax.random.key(0), 6)
        images = jax.random.normal(keys[1], (8, 8, 8, 1))
        labels = jax.random.randint(keys[2], (8,), 0, 3)
        probs = jax.nn.softmax(jax.random.normal(keys[3], (2, 14, 7)))

        betas = jax.random.uniform(keys[5], (2, 14))
        # How each relaxation applies a network: (net, weights, images, probs) -> logits.
        relaxed = {
            "softmax": (net, lambda net, *args: net.apply(*args)[0]),
            "gumbel": (net, lambda net, weights, images, probs: net.sampled().apply(
                weights, images, draw(probs, keys[4], 1.0))[0]),
            "partial": (net._replace(plan=make_supernet(1, 8, 3).plan, share=4), lambda net, *args: net.apply(
                *args[:2], Mixture(args[2], betas))[0]),
        }
        for name, (net, apply) in relaxed.items():
            weights = net.init(keys[0])

            def loss(net, weights, probs, images, labels):
                logits = apply(net, weights, images, probs)
                return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

            def on_device(weights, probs, images, labels):
                synchronized = net._replace(axis_name="batch")
                grads = jax.grad(loss, (1, 2))(synchronized, weights, probs, images, labels)
                return jax.lax.pmean(grads, "batch")

            one = jax.jit(jax.grad(loss, (1, 2)), static_argnums=0)(net, weights, probs, images, labels)
            split = [a.reshape(4, 2, *a.shape[1:]) for a in (images, labels)]
            four = jax.pmap(on_device, "batch", in_axes=(None, None, 0, 0), out_axes=None)(weights, probs, *split)
            assert np.any(one[1])
            for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(four), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, np.abs(a).max()))
            print(name, "gradients agree on", jax.device_count(), "devices")
    """
    done = python("-c", textwrap.dedent(script), devices=4, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("gradients agree on 4 devices") == 3


# Interrupts a run: a signal after the checkpoint of a step, after a part of its files, or before it.
STOPPED = """
    import os, signal, sys
    from nge_jax import main
    from nge_jax.console import progress
    from nge_jax.runtime import checkpoint
    step, when = int(sys.argv.pop(1)), sys.argv.pop(1)
    save, advance, images = checkpoint.Checkpoints.save, progress.EpochLog.advance, [0]

    def save_and_die(self, at, *args):
        save(self, at, *args)
        if at == step and when != "asked":
            if when == "saved":
                self.wait()
            os.kill(os.getpid(), signal.SIGKILL)

    def advance_and_signal(self, count, note):
        advance(self, count, note)
        images[0] += count
        if images[0] == 8 * step and when == "asked":
            os.kill(os.getpid(), signal.SIGTERM)

    checkpoint.Checkpoints.save = save_and_die
    progress.EpochLog.advance = advance_and_signal
    main.run()
"""


@pytest.mark.whole
def test_a_search_stopped_four_times_ends_bit_identical(python, tmp_path):
    def search(workdir, *before, more=()):
        return python(
            *(before or TINY[:2]),
            *TINY[2:],
            *more,
            f"--workdir={workdir}",
            timeout=600,
        )

    straight = search(tmp_path / "straight")
    assert straight.returncode == 0, straight.stderr
    script = textwrap.dedent(STOPPED)
    # Step 1 lies in the weight phase of the first epoch, which ends without a checkpoint. Step 5 lies in the embedding
    # phase.
    rarely = ["--config.run.checkpoint_every_steps=100"]
    asked = search(tmp_path / "stopped", "-c", script, "1", "asked", more=rarely)
    assert asked.returncode == 75, asked.stderr
    assert "stopped after step 1 of 12" in asked.stderr
    for step, when in ((2, "saved"), (5, "saved"), (8, "writing")):
        killed = search(tmp_path / "stopped", "-c", script, str(step), when)
        assert killed.returncode == -9, killed.stderr
    resumed = search(tmp_path / "stopped")
    assert resumed.returncode == 0, resumed.stderr
    assert result(tmp_path / "stopped") == result(tmp_path / "straight")
    assert result(tmp_path / "straight").step == 12


@pytest.mark.parametrize("devices", [1, pytest.param(4, marks=pytest.mark.whole)])
def test_a_search_runs_on_any_number_of_devices(devices, python, tmp_path):
    done = python(*TINY, f"--workdir={tmp_path / 'run'}", devices=devices, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.html").exists()
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["device_count"] == devices
    assert environment["compile_seconds"] > 0 and environment["ended"] >= environment["started"]
    shown = (tmp_path / "run" / artifacts.EVENT_PICTURES).read_bytes()
    assert b"cell/normal" in shown and b"P/last" in shown
    ((name, parameters, _), *_) = artifacts.read_sizes(tmp_path / "run")
    assert name == "3 cells, 16 channels, digits, as the command trains it" and parameters > 1000


@pytest.mark.whole
def test_batchwise_alternation_updates_both_groups(phases):
    weight_step = gradient_steps.make_weight_step(NET, OPTIMIZER, PREPROCESSING)
    embedding_step = gradient_steps.make_embedding_step(NET, EDGES, OPTIMIZER, PREPROCESSING)
    both = gradient_steps.make_alternating_phase(weight_step, embedding_step, EDGES)
    axes = (parallel.BATCHES_AXES, parallel.BATCHES_AXES)
    state, batches, key = fresh()
    found = parallel.on_all_devices(both, axes)(state, (batches, batches), key, 0, 2)
    state, batches, key = fresh()
    for row in range(2):
        state = phases[EMBEDDING](state, batches, key, row, row + 1)
        probs = EDGES.probs(state.params[EMBEDDING])
        state = phases[WEIGHTS](state, (probs, batches), key, row, row + 1)
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
