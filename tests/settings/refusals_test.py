"""Values of keys that a run refuses, in one line that names the key, and before it writes anything."""

import importlib

import pytest

import nge_jax as nge
from nge_jax import main
from nge_jax.errors import InputError
from nge_jax.search.checks import check
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten, load_config

# (config, variant, {key: value}, what the refusal says)
REFUSALS = [
    *(("search_digits", "gradient,smoke", *row) for row in (
        ({"search.alternation": "never"}, "config.search.alternation: found 'never'"),
        ({"search.edge_model": "gcn"}, "config.search.edge_model: found 'gcn', expected one of nge"),
        ({"search.space": "resnet"}, "config.search.space: found 'resnet', expected one of darts, nas"),
        ({"search.space": "nas_bench_201"}, "config.data.table, config.gumbel.all_scalars: missing, expected as in"),
        ({"search.images_per_epoch": 9999}, "config.search.images_per_epoch: found 9999"),
        ({"search.batch_size": 999}, "config.search.batch_size: found 999, expected at most the"),
        ({"search.strategy": "annealing"}, "config.search.strategy: found 'annealing', expected one"),
        ({"search.order": 2}, "config.search.order: found 2"),
        ({"data.image_size": 16}, "config.data.image_size: found 16, expected 0 for digits"),
        ({"data.image_size": 8}, "config.data.image_size: found 8, expected a multiple of 16"),
        ({"embedding.norm": "layer"}, "config.embedding.norm: found 'layer', expected one of none, center"),
        ({"embedding.rate": "same"}, "config.embedding.rate: found 'same', expected one of absolute, matched"),
        ({"search.edge_model": "alpha", "embedding.classifier": "per_edge"},
         "config.embedding.classifier: found 'per_edge', expected 'shared' with the edge model 'alpha'"),
        ({"search.order": 2, "search.alternation": "batch", "search.warmup": 0.5}, "config.search.warmup: found 0.5"),
        ({"network.channels": 3}, "config.network.channels: found 3"),
        ({"data.train_fraction": 1.5}, "config.data.train_fraction: found 1.5, expected more than 0"),
        ({"search.relaxation": "hard"}, "config.search.relaxation: found 'hard', expected one of"),
        ({"search.relaxation": "partial", "network.channels": 2},
         "config.network.channels: found 2, expected a multiple of 8"),
        ({"gumbel.last_temperature": 0.0}, "config.gumbel.last_temperature: found 0.0, expected more than 0"),
        ({"search.seeds": (1, 2, 1)}, "config.search.seeds: found (1, 2, 1), expected each seed once"),
        ({"search.seeds": (1, -2)}, "config.search.seeds: found (1, -2), expected 0 to 64 integers"),
        ({"search.edge_models": ("nge", "nge")}, "found ('nge', 'nge'), expected each edge model once"),
        ({"search.edge_models": ("nge", "gcn")},
         "config.search.edge_models: found 'gcn', expected one of nge, alpha, plain, rnn"),
        ({"search.cost_weights": (0, 0.0)}, "config.search.cost_weights: found (0, 0.0), expected each weight once"),
        ({"search.cost_weights": (0.1, -1)}, "config.search.cost_weights: found (0.1, -1), expected 0 to 64 numbers"),
        ({"search.cost_weights": (0, 0.1), "search.edge_models": ("nge", "alpha")},
         "config.search.cost_weights: found (0, 0.1), expected none with config.search.edge_models"),
        *(({key: value, "search.relaxation": "sigmoid", "search.entropy_weight": 0.0},
           f"config.{key}: found {value}, expected {none} with the relaxation sigmoid, whose P has no probabilities")
          for key, value, none in (
              ("search.cost_weight", 0.1, "0"), ("search.cost_weights", (0, 0.1), "()"),
              ("limits.parameters", 60_000, "0"),
          )),
        ({"search.cost_weight": 0.1, "search.strategy": "random"},
         "config.search.cost_weight: found 0.1, expected 0 with strategy 'random'"),
        *(({"search.space": "s2", key: value}, f"config.{key}: found {value}, expected {none} in the space 's2'")
          for key, value, none in (
              ("limits.parameters", 9, "0"), ("limits.multiply_adds", 9, "0"), ("limits.milliseconds", 0.5, "0"),
              ("search.cost_weight", 0.5, "0"), ("search.cost_weights", (0, 0.5), "()"),
          )),
        ({"limits.milliseconds": 0.5}, "config.limits.latency_table: found none, expected a CSV of latencies"),
        ({"limits.latency_table": "a.csv"}, "config.limits.latency_table: found 'a.csv', expected none with"),
        ({"limits.milliseconds": 0.5, "limits.latency_table": "nowhere.csv"},
         "config.limits.latency_table: nowhere.csv: cannot be read"),
        *((several | keys, message)
          for several in (
              {"search.cost_weights": (0, 0.1)}, {"search.seeds": (0, 1)}, {"search.edge_models": ("nge", "alpha")},
          )
          for keys, message in (
              ({"search.strategy": "random"}, "config.search.strategy: found 'random', expected 'gradient'"),
              ({"search.stop_on_skips": 3}, "config.search.stop_on_skips: found 3, expected 0"),
          )),
    )),
    *(("search_digits", "evolution,smoke", *row) for row in (
        ({"search.alternation": "batch"}, "config.search.alternation: found 'batch', expected 'ep"),
        ({"search.relaxation": "gumbel"}, "config.search.relaxation: found 'gumbel', expected 'softmax' with strategy"),
        ({"evolution.memory": 1}, "config.evolution.memory: found 1, expected at least the popul"),
        ({"evolution.tournament": 0}, "config.evolution.tournament: found 0, expected 1 or more"),
        ({"evolution.rank_scale": 0.0}, "config.evolution.rank_scale: found 0.0, expected more"),
        ({"evolution.train_steps": -1}, "config.evolution.train_steps: found -1, expected 0 or"),
        ({"reinforce.baseline_decay": 1.0}, "config.reinforce.baseline_decay: found 1.0, expected"),
        ({"reinforce.learning_rate": -0.1}, "config.reinforce.learning_rate: found -0.1, expected"),
        ({"final.candidates": 0}, "config.final.candidates: found 0, expected 1 or more"),
        ({"final.batches": 99}, "config.final.batches: found 99, expected at most the "),
    )),
    *(("search_digits", "smoke", keys, "the word gradient after the config's name searches by a supernet") for keys in (
        {"search.relaxation": "gumbel"}, {"search.strategy": "gradient"}, {"search.warmup": 0.5},
        {"search.seeds": (0, 1)},
    )),
    *(("search_nas_bench_201", "smoke", {"data.name": "digits", "data.pad": 1} | keys, message)
      for keys, message in (
        ({"search.strategy": "evolution"}, "config.search.strategy: found 'evolution', expected 'grad"),
        ({"data.table": "none.npz"}, "config.data.table: none.npz: no such file"),
        ({"gumbel.all_scalars": True}, "config.gumbel.all_scalars: found True, expected False with config.search.rel"),
    )),
    *(("train_digits", "smoke", *row) for row in (
        ({"genotype": "DARTS_V9"}, "DARTS_V9"),
        ({"train.batch_size": 0}, "config.train.batch_size: found 0, expected 1 or more"),
        ({"train.batch_size": 4000}, "config.train.batch_size: found 4000, expected at most the 1442 images of digits"),
        ({"train.drop_path": 1.0}, "config.train.drop_path: found 1.0"),
        ({"train.images_per_epoch": 1443}, "config.train.images_per_epoch: found 1443"),
        ({"train.images_per_epoch": 63}, "config.train.images_per_epoch: found 63"),
        ({"train.auxiliary_weight": 0.4}, "config.train.auxiliary_weight: found 0.4, expected 0 for images"),
        ({"network.dtype": "float16"}, "config.network.dtype: found 'float16', expected one of float32, bfloat16"),
    )),
]  # fmt: skip


@pytest.mark.parametrize("name, variant, keys, message", REFUSALS)
def test_a_bad_value_is_refused_in_one_line_before_anything_is_written(
    name, variant, keys, message, tmp_path
):
    config = load_config(name, variant)
    config.update_from_flattened_dict(keys)
    runner = importlib.import_module(main.TASKS[config.task])
    with pytest.raises(InputError) as refusal:
        runner.run(config, tmp_path / "run", overwrite=False)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_python_sets_no_key_that_the_search_does_not_read(tmp_path):
    config = load_config("search_digits", "gradient,smoke")
    with pytest.raises(
        InputError, match="config.final.batches: found 3, expected none: a search with"
    ):
        nge.search.run(config, tmp_path / "run", settings={"final.batches": 3})
    assert not (tmp_path / "run").exists()


def test_adjacency_is_read_where_one_of_several_edge_models_is_nge():
    values = flatten(load_config("search_digits", "gradient").to_dict())
    assert "search.adjacency" not in keys.unread(values)
    several = values | {"search.edge_model": "alpha", "search.edge_models": ("rnn", "nge")}
    assert "search.adjacency" not in keys.unread(several)
    several["search.edge_models"] = ("rnn", "alpha")
    assert keys.unread(several)["search.adjacency"] == "search.edge_models"


def test_order_two_is_taken_where_there_is_a_batch_of_each_half():
    config = load_config("search_digits", "gradient,smoke")
    config.search.order, config.search.alternation = 2, "batch"
    check(config)


def test_a_batch_that_no_step_reads_need_not_be_divided():
    check(load_config("search_digits", "smoke"), 3)
    with pytest.raises(InputError, match="config.search.batch_size: 3 devices do not divide"):
        check(load_config("search_digits", "gradient,smoke"), 3)
