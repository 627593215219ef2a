"""The keys that a config leaves open: the data choose them, and the run that began with them keeps them."""

import jax
import numpy as np
import pytest
from PIL import Image

from nge_jax.data import choose
from nge_jax.data.user_images import Arrays, UserImages
from nge_jax.errors import InputError
from nge_jax.search import checks as search_checks
from nge_jax.search import images as search_images
from nge_jax.settings.configs import differ, flatten, load_config, to_values
from nge_jax.train import build as train_build
from nge_jax.train import images as train_images
from nge_jax.workdir import folder as workdir

PIXELS = {"data.image_size": 20, "data.channels": 3}
WORDS = {"search": "gradient", "train": ""}  # the searches that read a batch size and epochs
# For each task, the module that resolves a config, and the values that 32 images of 20 pixels decide.
TASKS = {
    "search": (search_images, PIXELS | {"search.batch_size": 4, "search.epochs": 50}),
    "train": (train_images, PIXELS | {"train.batch_size": 8, "train.epochs": 200}),
}


def resolve(module, config, found, path=None):
    """Returns the config that the images `found` decide, where the workdir `path` may hold a run."""
    return choose.resolve(config, path, lambda _: found, module._choose)[0]


def images(count=32, side=20):
    part = Arrays(np.zeros((count, 1, 1, 3), np.uint8), np.zeros(count, np.int32))
    return UserImages(("ant", "bee"), {"train": part}, (), (), side, 3)


def values(task, *arguments):
    module, chosen = TASKS[task]
    resolved = resolve(module, load_config(f"{task}_folder", WORDS[task]), *arguments)
    return resolved, {key: flatten(resolved.to_dict())[key] for key in chosen}


@pytest.fixture(params=TASKS)
def task(request):
    return request.param


def test_the_number_of_devices_decides_on_nothing(task, monkeypatch, capsys):
    for devices in (1, 3, 16):
        monkeypatch.setattr(jax, "device_count", lambda devices=devices: devices)
        assert values(task, images())[1] == TASKS[task][1]
    assert (
        f"chosen by the data: data.image_size=20 data.channels=3 {task}.batch_size="
        in capsys.readouterr().out
    )


def test_devices_that_do_not_divide_a_batch_are_named_with_those_that_do(task):
    config, chosen = values(task, images())
    size = chosen[f"{task}.batch_size"]
    check = {"search": search_checks.check, "train": train_build.check}[task]
    check(config, 1)
    message = f"^config.{task}.batch_size: 3 devices do not divide a batch of {size}, expected a multiple of 3; "
    with pytest.raises(InputError, match=message + ".* goes on with 1 or 2 of the devices$"):
        check(config, 3)


def open_to_train(config):
    return train_images.open_source(train_images.read_settings(config))


@pytest.mark.parametrize(
    ("task", "open_images"),
    (("search", search_images.open_user_images), ("train", open_to_train)),
)
def test_one_class_is_refused(task, open_images, tmp_path):
    (tmp_path / "ant").mkdir()
    for number in range(8):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"ant/{number}.png")
    config = load_config(f"{task}_folder", "smoke")
    differ(config, {"data.name": f"folder:{tmp_path}", "data.channels": 3})
    with pytest.raises(InputError, match="^config.data.name: .* has one class, expected two or"):
        open_images(config)


def test_micro_batches_count_too():
    config = load_config("train_cifar10")
    differ(config, {"train.batch_size": 4, "train.accumulate": 2})
    train_build.check(config, 1)
    with pytest.raises(InputError, match="4 devices times 2 micro-batches .* with 1 or 2 of the"):
        train_build.check(config, 4)


def test_a_run_goes_on_with_what_it_began_with(task, tmp_path, capsys):
    began, chosen = values(task, images())
    workdir.prepare(tmp_path, to_values(began), overwrite=False)
    more = images(count=4000, side=100)
    assert values(task, more, tmp_path)[1] != chosen, "nothing has been computed yet"
    (tmp_path / "checkpoints" / "8").mkdir(parents=True)
    resolved, kept = values(task, more, tmp_path)
    assert kept == chosen and values(task, more)[1] != chosen
    workdir.check(tmp_path, to_values(resolved), overwrite=False)
    line = capsys.readouterr().out.splitlines()[-2]
    assert line == f"as this run began: {' '.join(f'{k}={v}' for k, v in chosen.items())}"


def test_what_a_command_says_holds_against_what_a_run_began_with(task, tmp_path):
    began, chosen = values(task, images())
    workdir.prepare(tmp_path, to_values(began), overwrite=False)
    (tmp_path / "checkpoints" / "8").mkdir(parents=True)
    config = load_config(f"{task}_folder", WORDS[task])
    differ(config, {f"{task}.epochs": 3})
    resolved = resolve(TASKS[task][0], config, images(), tmp_path)
    with pytest.raises(InputError, match=rf"\({task}.epochs: workdir has \d+, now 3\)"):
        workdir.check(tmp_path, to_values(resolved), overwrite=False)


def test_numbers_that_no_run_could_have_begun_with_are_chosen_anew(task, tmp_path):
    began, chosen = values(task, images())
    differ(began, {key: type(value)() for key, value in chosen.items()})
    workdir.prepare(tmp_path, to_values(began), overwrite=False)
    (tmp_path / "checkpoints" / "8").mkdir(parents=True)
    assert values(task, images(), tmp_path)[1] == chosen


def test_a_folder_of_somebody_else_is_named_for_what_it_is(task, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{}")
    with pytest.raises(InputError, match="was not written by nge_jax"):
        values(task, images(), tmp_path)
