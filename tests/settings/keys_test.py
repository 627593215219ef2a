"""The table of numbers: no key without an entry, the shipped values allowed, all else refused in one line."""

import pytest

from nge_jax import main
from nge_jax.errors import InputError
from nge_jax.settings import checks, keys
from nge_jax.settings import configs as run_config
from nge_jax.settings.configs import flatten, load_config, load_module, shipped_configs
from tests.conftest import ROOT

CONFIGS = {
    (name, word): (load_config(name, word).task, flatten(load_config(name, word).to_dict()))
    for name, file in shipped_configs().items()
    for word in ("", *(word for table in load_module(file).VARIANTS for word in table))
}


def test_every_number_of_every_config_has_an_entry():
    for (name, _), (task, values) in CONFIGS.items():
        numbers = {key for key, value in values.items() if keys.is_numeric(value)}
        missing = numbers - keys.limits(task, values).keys()
        assert not missing, f"{name}: no limits in nge_jax/settings/keys.py of {', '.join(missing)}"
    known = {key for _, values in CONFIGS.values() for key in values}
    assert keys.COMMON.keys() <= known, f"no config has {keys.COMMON.keys() - known}"
    assert keys.CHOICES.keys() <= known, f"no config has {keys.CHOICES.keys() - known}"


def test_every_shipped_value_is_allowed():
    for task, values in CONFIGS.values():
        keys.check(task, values)


def test_the_document_has_the_table():
    assert keys.table() in (ROOT / "docs" / "keys.md").read_text()


def wrong_values(limit, value):
    """Values of a key that are out of its limits, or no such numbers."""
    over = [limit.least - 1, limit.most * 10 + 1, -(10**400), 10**400]
    if limit.kind is float:
        over += [float("nan"), float("inf"), -float("inf")]
        over += [float(limit.least)] * limit.above + [float(limit.most)] * limit.below
    else:
        over += [1.5]
    if limit.multiple > 1:
        over += [limit.least + 1]
    over += ["3", None, True, [], {}]
    if limit.length is None:
        return [*over, (1,)]
    fewest, most = limit.length
    none = [()] if fewest else []
    value = value or (limit.least,)
    several = [(*value[:-1], bad) for bad in over]
    return [
        *several,
        *none,
        value[0],
        "abc",
        value * (most + 1),
        *([value[:-1]] if fewest == len(value) else []),
    ]


def test_every_wrong_value_of_every_number_is_one_line():
    tried = 0
    for task, values in CONFIGS.values():
        for key, limit in keys.limits(task, values).items():
            if key not in values:
                continue
            for wrong in wrong_values(limit, values[key]):
                with pytest.raises(InputError) as refused:
                    keys.check(task, values | {key: wrong})
                assert str(refused.value).startswith(f"config.{key}: found "), (key, wrong)
                assert len(str(refused.value)) < 300 and "\n" not in str(refused.value)
                tried += 1
    assert tried > 1000


@pytest.mark.parametrize(
    "config, setting, message",
    [
        ("train_cifar10", "seed=-1", "config.seed: found -1, expected 0 or more"),
        ("train_cifar10", f"seed={2**64}", "config.seed: found 18446744073709551616, expected at most 4,2"),
        ("train_cifar10", "weights.learning_rate=nan", "found nan, expected 0 or more"),
        ("train_cifar10", "weights.learning_rate=-0.1", "found -0.1, expected 0 or more"),
        ("train_cifar10", "weights.momentum=2", "found 2.0, expected 0 or more and less than 1"),
        ("train_cifar10", "weights.clip_norm=0", "config.weights.clip_norm: found 0.0, expected more than 0"),
        ("train_cifar10", "data.cutout=-3", "config.data.cutout: found -3, expected 0 or more"),
        ("train_imagenet", "data.image_size=100", "found 100, expected a multiple of 32, "),
        ("train_imagenet", "data.jitter=(0.4,)", "found (0.4,), expected 4 numbers, each 0 or more"),
        ("train_imagenet", "data.jitter=(0.4,0.4,0.4,0.6)", "found 0.6 as the strength of hue"),
        ("segment_voc", "network.rates=abc", "config.network.rates: found"),
        ("search_cifar", "network.cells=1000000000", "found 1000000000, expected at most 200"),
        ("search_cifar", "network.channels=3", "found 3, expected a multiple of 2, "),
        ("search_cifar", "data.train_fraction=nan", "found nan, expected more than 0 and less than 1"),
        ("train_cifar10", "data.name=folder:/x", "found 'folder:/x', expected one of cifar10, cifar100"),
        ("train_imagenet", "data.name=cifar10", "found 'cifar10', expected a set of photographs"),
        ("train_imagenet", "run.steps_per_dispatch=1000000", "the images of a dispatch would take"),
    ],
)  # fmt: skip
def test_what_was_taken_in_silence_is_refused(tmp_path, config, setting, message):
    with pytest.raises(InputError) as refused:
        settings = [f"--config.{setting}"]
        main.run_task(run_config.read_config(config, settings), tmp_path / "w", summary=False)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "w").exists()


def test_padding_stays_within_the_image():
    checks.check_padding(8, (8, 8, 1))
    with pytest.raises(
        InputError, match=r"config.data.pad: found 9, expected at most the 8 pixels"
    ):
        checks.check_padding(9, (8, 8, 1))
