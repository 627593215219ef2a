"""The lean install: no command but those that read a set of TFDS needs TensorFlow, and these say so."""

import json
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from nge_jax.space import genotype
from tests.conftest import ROOT
from tests.helpers.devkits import write_devkit
from tests.helpers.small_training import SMALL

# TensorFlow and what comes with it seem to be installed, and cannot be imported: by no library's detour either.
BLOCKED = """
import importlib.machinery, json, sys

NAMES = ("tensorflow", "tensorflow_datasets")
tried = []

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name in NAMES:
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        tried.append(spec.name)
        raise ImportError(f"{spec.name} is blocked")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Blocked())
from nge_jax import cli
for command in json.loads(sys.argv[1]):
    print("nge", *command, file=sys.stderr)
    try:
        cli.run(command)
    except SystemExit as end:
        assert not end.code, end.code
"""
NOT_TRIED = """
assert not tried, tried
"""
READERS = """
from pathlib import Path
from nge_jax.data import user_images, resized, spec
from nge_jax.data.photographs import batches, files
from nge_jax.data.voc_segmentation import batches as voc

photos = batches.load("folder:photos", image_size=32, skip_damaged=True)
assert next(batches.train_batches(photos, 0, 0, 4))[0].shape == (4, 32, 32, 3)
assert next(batches.test_batches(photos, "test", 2))[0].shape == (2, 32, 32, 3)
assert resized.load(user_images.open_images("folder:photos"), 16).train_images.shape[1:] == (16, 16, 3)
large = spec.DatasetSpec(spec.LARGE, (32, 32, 3), batches.MEAN, batches.STD, ("a", "b"))
assert files.read_fitted(Path("photos/a/0.jpg"), large).shape == (32, 32, 3)
devkit = voc.load("VOCdevkit")
voc.check_test_size(devkit, 49)
assert next(voc.train_batches(devkit, 0, 0, 2, crop=33))[0].shape == (2, 33, 33, 3)
assert next(voc.test_batches(devkit, 3, 49)).images.shape == (3, 49, 49, 3)
"""
TINY_TRAINING = "genotype=cell.json network.cells=2 train.epochs=1 train.warmup_epochs=0"


@pytest.fixture
def folder(tmp_path):
    """A folder with photographs in classes, an .npz file, a devkit with classes of its own and a cell."""
    random = np.random.RandomState(0)
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            pixels = random.randint(0, 256, (100, 120, 3)).astype(np.uint8)
            suffix = ("jpg", "png")[number % 2]
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.{suffix}")
    images = random.randint(0, 256, (48, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(48) % 2)
    root, _ = write_devkit(tmp_path)
    (root / "labels.txt").write_text("ground\nwall\nkern\n")
    (tmp_path / "cell.json").write_text(genotype.to_json(SMALL))
    return tmp_path


@pytest.fixture
def run_blocked(python, folder):
    """Runs commands of `nge` in the folder, in one process, then some code."""

    def run(commands, code=""):
        script = f"import os\nos.chdir({str(folder)!r})\n{BLOCKED}{code}{NOT_TRIED}"
        words = json.dumps([shlex.split(command) for command in commands])
        done = python("-c", script, words, timeout=600)
        assert done.returncode == 0, done.stderr

    return run


def test_nothing_but_sets_of_tfds_imports_tensorflow(run_blocked):
    run_blocked([
        f"train train_digits:smoke --workdir t {TINY_TRAINING} train.images_per_epoch=64 data.validation=100",
        "eval t",
        "predict t photos/a --output lines.jsonl",
        "report t",
        "compare t",
        "show t -o cell.svg",
        "configs search_cifar",
        "export t exported --formats=stablehlo,onnx,npz",
        *(f"search search_folder:smoke --data {data} --workdir n --summary" for data in ("photos", "images.npz")),
    ], READERS)  # fmt: skip


@pytest.mark.whole
def test_no_run_on_other_data_imports_tensorflow(run_blocked):
    large = "network.stem=large train.batch_size=4"
    tiny = "network.cells=2 network.width=4 network.rates=(1,) data.crop=33 data.test_size=49"
    steps = "train.steps=1 train.batch_size=2 run.eval_batch_size=3"
    run_blocked([
        "search search_digits:gradient,smoke --workdir s network.cells=1 search.images_per_epoch=16 search.epochs=1",
        f"train train_folder:smoke --data photos --workdir p {TINY_TRAINING} {large}",
        "eval p",
        "predict p photos --output photos.csv",
        f"segment segment_voc:smoke --data VOCdevkit --workdir v genotype=cell.json {tiny} {steps}",
        "predict v photos --output masks",
    ])  # fmt: skip


# Neither is installed; each command's exit code and what it says.
ABSENT = """
import contextlib, io, json, os, sys

os.chdir(sys.argv[1])
sys.modules |= dict.fromkeys(("tensorflow", "tensorflow_datasets"))
from nge_jax import cli
ends = []
for command in json.loads(sys.argv[2]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            cli.run(command)
        except SystemExit as end:
            ends.append((end.code, said.getvalue().strip().splitlines()[-1]))
print(json.dumps(ends))
"""
# The key that each command refuses, and what it would read.
REFUSED = {
    "search search_cifar:smoke": ("data.name", "cifar10"),
    "train train_cifar100:smoke genotype=cell.json": ("data.name", "cifar100"),
    "train train_imagenet:smoke genotype=cell.json": ("data.name", "imagenet2012"),
    "train train_imagenet:imagenette,smoke genotype=cell.json": ("data.name", "imagenette/320px-v2"),
    "search search_folder data.name=oxford_flowers102": ("data.name", "oxford_flowers102"),
    "segment segment_voc:smoke genotype=cell.json": ("data.dir", "PASCAL VOC 2012"),
    "segment segment_voc:smoke genotype=cell.json --data VOCdevkit": ("data.devkit", "PASCAL VOC 2012"),
}  # fmt: skip
NONE = "found no tensorflow-datasets and no tensorflow, expected both: pip install tensorflow-datasets tensorflow"


def test_what_reads_a_set_of_tfds_says_in_a_line_what_to_install(python, folder):
    (folder / "VOCdevkit" / "VOC2012" / "labels.txt").unlink()
    commands = [f"{command} --workdir w" for command in REFUSED]
    commands.append("export digits:pretrained out --formats=onnx,saved_model")
    lines = [f"config.{key}: {data} is read by TFDS, {NONE}" for key, data in REFUSED.values()]
    lines.append("tensorflow is not installed, pip install tensorflow")
    words = json.dumps([shlex.split(command) for command in commands])
    done = python("-c", ABSENT, str(folder), words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[2, f"error: {line}"] for line in lines]
    assert not (folder / "out").exists() and not (folder / "w").exists()


def test_the_lean_list_is_the_whole_without_tensorflow():
    core, whole = (
        [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
        for name in ("requirements-core.txt", "requirements.txt")
    )
    assert whole[: len(core)] == core
    names = [re.match(r"[\w-]+", line)[0] for line in whole[len(core) :]]
    assert names == ["tensorflow-datasets", "tensorflow-cpu", "tensorflow", "importlib-resources"]
