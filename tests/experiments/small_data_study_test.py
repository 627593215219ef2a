"""The study of the keys for small data: the order of the trainings, and the choice by what is held out."""

import pytest

import small_data_study as study
from nge_jax.settings.configs import flatten


@pytest.fixture
def options(tmp_path):
    return study.parser().parse_args(["--out", str(tmp_path), "--data_dir", str(tmp_path)])


def finish(trainings, accuracy):
    """Makes the results of trainings; `accuracy` is a function of a training."""
    return [
        training._asdict() | {"validation_accuracy": accuracy(training), "test_accuracy": 0.5}
        for training in trainings
    ]


def by_gains(gains, sets=()):
    """Makes accuracies: seeds differ by ten points, and each condition gains these points, give or take one."""

    def accuracy(training):
        points = gains.get(training.condition, 0) + (training.seed - 1 if training.keys else 0)
        points += dict(sets).get((training.condition, training.data), 0)
        return (40 + 10 * training.seed + points) / 100

    return accuracy


def test_trainings_go_seed_by_seed_and_differ_by_their_keys_alone(options):
    trainings = study.missing(options, [])
    assert len(trainings) == len({t[:2] + t[3:] for t in trainings}) == 63
    assert [t.seed for t in trainings] == sorted(t.seed for t in trainings)
    plain, *others = (
        flatten(study.runs.configuration(study.make_run(options, t)).to_dict())
        for t in trainings[: len(study.CONDITIONS)]
    )
    for training, values in zip(trainings[1:], others, strict=False):
        changed = {key: value for key, value in values.items() if value != plain[key]}
        assert changed == training.keys and set(plain) == set(values)
    rows = finish(trainings[:30], by_gains({}))
    assert study.missing(options, rows) == trainings[30:]


def test_what_helps_on_images_held_out_is_taken_together_and_chosen(options):
    trainings = study.missing(options, [])
    gains = {"mixup": 3, "cutmix": 0.2, "ema": 4, "adamw_0.001": 5, "adamw_0.003": 6}
    loss = {("ema", study.NPZ): -7}  # 4 points better on two sets, 3 points worse on one
    rows = finish(trainings, by_gains(gains, loss))
    found = study.gain(rows, "mixup")
    # The differences are 2, 3 and 4 points on each of the sets; their deviation is sqrt(6 / 8).
    assert found == pytest.approx((3, (0.75 / 9) ** 0.5, 3)) and found.helps
    assert study.gain(rows, "ema").worst == pytest.approx(-3)
    assert study.helpful(rows) == ["mixup", "adamw_0.003"]
    left = study.missing(options, rows)
    keys = study.CONDITIONS["mixup"] | study.CONDITIONS["adamw_0.003"]
    assert {t.condition for t in left} == {study.TOGETHER} and len(left) == 9
    assert all(t.keys == keys for t in left)
    assert study.choose(rows)[0] == "adamw_0.003"
    text = study.summary(rows, is_whole=False)
    assert "Chosen" not in text and "| test, %" not in text, "the test waits for the last training"
    rows += finish(left, by_gains({study.TOGETHER: 8}))
    assert study.missing(options, rows) == []
    text = study.summary(rows, is_whole=True)
    assert (
        "Chosen: together, +8.00 ± 0.29 points. By the plan `train_folder` takes the keys." in text
    )
    assert "| mixup | 53.00 ± 11.00 |" in text and "| mixup | 50.00 ± 0.00 |" in text


@pytest.mark.parametrize(
    ("noise", "answer"), [(1, "2.00 ± 0.29 points"), (9, "2.00 ± 2.60 points")]
)
def test_what_helps_a_little_is_trained_again_and_the_test_decides(options, noise, answer):
    losses = {("ema", study.NPZ): 3, ("ema", "photographs_32"): -2.5}
    rows = finish(study.missing(options, []), by_gains({"ema": 1}, losses))
    assert study.helpful(rows) == ["ema"] and not study.choose(rows)[1].is_shown
    left = study.missing(options, rows)
    keys = {study.DEFAULT: {}, "ema": study.CONDITIONS["ema"]}
    assert {t.condition: t.keys for t in left} == keys
    assert len(left) == 18 and {t.seed for t in left} == {3, 4, 5}
    new = finish(left, by_gains({}))
    for row in new:
        row["test_accuracy"] += (2 + noise * (row["seed"] - 4)) / 100 if row["keys"] else 0
    assert study.missing(options, rows + new) == []
    text = study.summary(rows + new, is_whole=True)
    assert f"Confirmation by the test: +{answer}, on the worst set +2.00." in text
    assert ("takes the keys" in text) == (noise == 1)
    held_out = "held out", "validation_accuracy"
    assert study.table(rows + new, *held_out) == study.table(rows, *held_out)


def test_no_gain_changes_nothing(options):
    rows = finish(study.missing(options, []), by_gains({}))
    assert study.helpful(rows) == [] and study.missing(options, rows) == []
    assert "No change helps" in study.summary(rows, is_whole=True)
