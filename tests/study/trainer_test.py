"""The trainings of a study: the program that a search has compiled, and seeds that share no order of images."""

import functools

import jax.numpy as jnp
import numpy as np

from nge_jax.metrics import no_sums
from nge_jax.networks.any_cell import as_arrays
from nge_jax.search import build as search_build
from nge_jax.search import images as search_images
from nge_jax.settings.configs import load_config
from nge_jax.space import genotype
from nge_jax.study import trainings
from nge_jax.study.build import build
from nge_jax.study.settings import Settings
from nge_jax.study.trainer import Trainer, _batches, _begin
from nge_jax.train.step import TrainState
from nge_jax.trials import build as trials_build
from nge_jax.trials.programs import LEAST_ROWS, make_programs, padded
from nge_jax.trials.task import Director


@functools.cache
def make_config():
    config = load_config("search_digits", "trained")
    config.network.cells = 1
    return config


@functools.cache
def make_trainer():
    study = build(make_config(), (), Settings(1, 1, 2, 0.0, False), "a search")
    training = study.training
    programs = make_programs(training)
    return Trainer(training, programs, training.arguments, study.epochs, study.dispatch)


def test_a_study_trains_by_the_program_that_the_search_has_compiled(tmp_path):
    """Equal texts have the same entry in the cache of compiled programs."""
    config = make_config()
    plan = trials_build.build(search_build.build(config, search_images.load_data(config)))
    director, trainer = Director(plan, tmp_path), make_trainer()
    searching, state = director.trainer, director.first_state()
    work, *_ = next(searching.work(state, [(0, 1)]))
    by_search = searching.programs.train.lower(state.trial, work, searching.key, 0, 0)
    trial, key, leg = _begin(
        trainer.programs, trainer.leg(as_arrays(genotype.random_genotype(0)), 1)
    )
    batches, *_ = next(_batches(trainer.training, 0, trainer.dispatch))
    by_study = trainer.programs.train.lower(trial, (batches, leg), key, 0, 0)
    assert by_search.as_text() == by_study.as_text()


def test_the_rows_that_are_added_are_behind_the_others():
    order = np.arange(6).reshape(1, 3, 2)
    rows = padded(order)
    assert rows.shape == (1, LEAST_ROWS, 2) and not rows[:, 3:].any()
    np.testing.assert_array_equal(rows[:, :3], order)
    assert padded(np.zeros((1, LEAST_ROWS + 1, 2))).shape == (1, 2 * LEAST_ROWS, 2)


def test_a_shorter_training_records_its_length():
    recipe = ("train.epochs=20", "train.warmup_epochs=5")
    study = build(make_config(), recipe, Settings(1, 1, 2, 0.0, False), "a search")
    trainer = make_trainer()._replace(training=study.training, epochs=study.epochs)
    shorter = trainings._shortened(trainer, study, 8)
    lengths = [shorter.training.settings["train"][key] for key in ("epochs", "warmup_epochs")]
    assert lengths == [8, 2] and shorter.epochs == 8
    assert shorter.arguments == study.of_length(8).arguments != trainer.arguments
    assert trainings._shortened(trainer, study, 20) == trainer


def test_no_two_seeds_see_an_epoch_in_the_same_order():
    seen, trainer = [], make_trainer()
    source = trainer.training.source

    def epoch(number, spans):
        seen.append(number)
        return source.epoch(number, spans)

    training = trainer.training._replace(source=source._replace(epoch=epoch))
    programs = trainer.programs._replace(
        init=lambda key, leg: TrainState(jnp.int32(0), np.zeros(1), (), (), no_sums()),
        train=lambda state, *_: state,
    )
    trainer = trainer._replace(training=training, programs=programs)
    for seed in range(3):
        trainer.train(as_arrays(genotype.random_genotype(0)), seed)
    assert seen == list(range(3 * trainer.epochs))
