"""No number that is not finite reaches a checkpoint: the run stops in one line, or counts the update it leaves out."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax import optim
from nge_jax.console.progress import Column
from nge_jax.devices import finite, parallel
from nge_jax.devices.finite import Diverged
from nge_jax.errors import InputError
from nge_jax.metrics import Sums, no_sums
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime import loop
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.runtime.loop import EpochEnd, Phase, Task
from nge_jax.train import runner as train_runner
from nge_jax.train import step as train_step
from nge_jax.train import task as train_task
from nge_jax.train import trained
from nge_jax.train.step import TrainState
from tests.helpers.small_training import rows, small_config

STEPS = 4  # an epoch's steps; a step's batch is one number, and the gradient is this number


def make_program(*, skip):
    optimizer = optax.sgd(optax.constant_schedule(1.0))

    def loss_fn(params, batch_stats, numbers):
        loss = (params * numbers).sum()
        # tanh of infinity is finite, and tanh of NaN is NaN.
        return loss, (
            batch_stats + numbers.sum(),
            Sums(jnp.tanh(loss), jnp.float32(0), jnp.float32(1)),
        )

    def step(state, batch):
        options = {"accumulate": 1, "divisor": 1, "steps_per_epoch": STEPS}
        return train_step.update(
            state, loss_fn, (batch,), optimizer, **options, skip_nonfinite=skip
        )

    def phase(state, batches, key, start, stop):
        return jax.lax.fori_loop(start, stop, lambda i, state: step(state, batches[i]), state)

    params = jnp.float32(0)
    state = TrainState(jnp.int32(0), params, jnp.float32(0), optimizer.init(params), no_sums())
    # These are NumPy arrays, because a run donates the arrays on the devices.
    return parallel.on_all_devices(phase, 0), jax.tree.map(np.asarray, state)


PROGRAMS = {skip: make_program(skip=skip) for skip in (False, True)}


def run(path, numbers, *, skip=0, every=2, most=1):
    """Runs epochs of STEPS numbers; returns the last state."""
    program, state = PROGRAMS[skip > 0]
    state, key = parallel.replicated((state, jax.random.key(0)))
    table = np.array(numbers, np.float32).reshape(-1, STEPS, 1)

    def end_epoch(epoch, step, state):
        return EpochEnd(state, {"count": float(state.sums.count)})

    task = Task(
        state=state,
        key=key,
        phases=(Phase("", program, STEPS),),
        total_steps=table.size,
        batch_size=1,
        batches=lambda epoch, name, spans, state: (
            (parallel.divided(table[epoch][None]), *span) for span in spans
        ),
        end_epoch=end_epoch,
        columns=(Column("epoch", "{epoch}"),),
        skipped=train_task.count_skipped if skip else None,
    )
    return loop.run(
        task,
        path,
        checkpoint_every_steps=every,
        keep_checkpoints=9,
        steps_per_dispatch=most,
        skip_nonfinite=skip,
    )


def saved(path):
    return sorted(int(p.name) for p in (path / "checkpoints").iterdir())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_run_stops_at_the_first_number_that_is_not_finite(tmp_path, bad):
    with pytest.raises(Diverged) as stopped:
        run(tmp_path, [1, 1, 1, 1, 1, 1, 1, bad])
    what = "the sums (.loss)" if np.isnan(bad) else ".params"
    assert f"the run has diverged: NaN or infinity in {what} by" in str(stopped.value)
    assert "by step 8 of 8 (epoch 2/2); the last good checkpoint is of step 6;" in str(
        stopped.value
    )
    assert "run.skip_nonfinite=N" in str(stopped.value) and "\n" not in str(stopped.value)
    assert saved(tmp_path) == [2, 4, 6] and len(rows(tmp_path)) == 1
    with pytest.raises(Diverged, match="by step 8"):  # the second run resumes from step 6
        run(tmp_path, [1, 1, 1, 1, 1, 1, 1, bad])
    assert saved(tmp_path) == [2, 4, 6]


def test_what_the_sums_do_not_show_yet_is_not_saved_either(tmp_path):
    """The largest float32 twice makes finite sums, but the updated weight is not finite."""
    big = float(np.finfo(np.float32).max)
    with pytest.raises(Diverged, match=r"in \.params by step 2 of 4 .*no checkpoint was saved"):
        run(tmp_path, [big, big, 1, 1])
    assert saved(tmp_path) == []


@pytest.mark.parametrize("most", [1, 3])
def test_updates_are_left_out_and_counted(tmp_path, most):
    numbers = [1, np.nan, 2, 3, np.inf, 5, 6, 7]
    state = run(tmp_path, numbers, skip=2, most=most)
    assert float(state.params) == -(1 + 2 + 3 + 5 + 6 + 7) and int(state.step) == 8
    assert float(state.batch_stats) == 24
    # The fifth step begins an epoch, and the first epoch's sums are gone.
    assert [(r["count"], r["skipped_updates"]) for r in rows(tmp_path)] == [(3, 1), (3, 2)]


def test_one_more_than_allowed_stops(tmp_path):
    with pytest.raises(Diverged, match=r"in 2 updates, more than run\.skip_nonfinite, by step 4"):
        run(tmp_path, [1, np.nan, 1, np.nan], skip=1)
    assert saved(tmp_path) == [2]


def test_a_run_that_has_stopped_goes_on_with_leave(tmp_path):
    numbers = [1, 2, 3, np.nan, 5, 6, 7, 8]
    with pytest.raises(Diverged):
        run(tmp_path / "a", numbers)
    state = run(tmp_path / "a", numbers, skip=1)
    jax.tree.map(np.testing.assert_array_equal, state, run(tmp_path / "b", numbers, skip=1))
    assert rows(tmp_path / "a") == rows(tmp_path / "b")


def test_an_epoch_without_any_update_stops(tmp_path):
    with pytest.raises(Diverged, match="more than"):
        run(tmp_path, [np.nan] * 8, skip=3)


def test_leaving_updates_out_changes_nothing_where_none_is(tmp_path):
    states = [run(tmp_path / str(skip), [1, 2, 3, 4], skip=skip) for skip in (0, 5)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_a_checkpoint_that_is_not_finite_is_no_place_to_go_on_from(tmp_path):
    _, state = PROGRAMS[False]
    with Checkpoints(tmp_path / "checkpoints", 2) as checkpoints:
        checkpoints.save(2, state._replace(step=jnp.int32(2), params=jnp.float32(np.nan)))
    with pytest.raises(Diverged, match=r"checkpoints/2: found NaN or infinity in \.params"):
        run(tmp_path, [1, 1, 1, 1])


def test_optimizers_count_their_updates():
    optimizer = optim.Optimizer(
        {
            WEIGHTS: optim.sgd(
                optax.constant_schedule(0.1), momentum=0.9, weight_decay=0.1, clip_norm=5.0
            ),
            EMBEDDING: optim.adam(0.1, b1=0.5, b2=0.9, weight_decay=0.1),
        }
    )
    params = {WEIGHTS: jnp.ones(3), EMBEDDING: jnp.ones(2)}
    state = optimizer.init(params)
    for made, group in enumerate((WEIGHTS, EMBEDDING, WEIGHTS, WEIGHTS)):
        assert finite.updates_made(state) == made
        params, state = optimizer.update(group, params[group], state, params)


def test_a_training_that_diverges_keeps_its_good_checkpoint(tmp_path):
    """The first step makes the weights huge. They are saved, but later states are not finite and are not saved."""
    changes = {"weights.learning_rate": 1e30, "run.steps_per_dispatch": 1}
    changes |= {"run.checkpoint_every_steps": 1, "train.epochs": 1, "train.images_per_epoch": 256}
    config = small_config(tmp_path, **changes)
    with pytest.raises(
        Diverged, match=r"by step 2 of 4 \(epoch 1/1\); .* checkpoint is of step 1;"
    ):
        train_runner.run(config, tmp_path / "run")
    assert saved(tmp_path / "run") == [1]
    network = trained.load(tmp_path / "run")
    assert network.step == 1
    # A checkpoint that another program has written with NaN is refused.
    bad = jax.tree.map(lambda a: np.full_like(a, np.nan), network.state.params)
    with Checkpoints(tmp_path / "run" / "checkpoints", 2) as checkpoints:
        checkpoints.save(9, network.state._replace(params=bad))
    with pytest.raises(InputError, match=r"checkpoints/9: found NaN or infinity in \.params"):
        trained.load(tmp_path / "run")
