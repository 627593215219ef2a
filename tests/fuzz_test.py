"""Wrong input of every kind, made by the thousand: refused in one line, or read; never an exception of another kind."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from nge_jax.data import spec
from nge_jax.data.photographs import crop, pixels
from nge_jax.errors import InputError
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten, load_config, read_config
from nge_jax.space import cell as space_cell
from nge_jax.space import genotype
from nge_jax.space.genotype import OPERATIONS
from nge_jax.workdir import artifacts

# The same in every run: a test that fails fails for everybody.
settings.register_profile(
    "same",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=250,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("same")

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=20,
)
PAIR = st.tuples(st.sampled_from([*OPERATIONS, "none", "conv"]), st.integers(-1, 7)) | JSON
CELL = st.fixed_dictionaries(
    {
        "normal": st.lists(PAIR, max_size=9) | JSON,
        "normal_concat": st.lists(st.integers(-1, 9), max_size=5) | JSON,
        "reduce": st.lists(PAIR, max_size=9) | JSON,
        "reduce_concat": st.lists(st.integers(-1, 9), max_size=5) | JSON,
    },
    optional={"cell": JSON},
)


def one_line(read, *arguments):
    """Reads, and sees to it that a refusal is one."""
    try:
        return read(*arguments)
    except InputError as refused:
        assert len(" ".join(str(refused).split())) < 1500
        return refused


@given(st.text() | JSON.map(json.dumps) | CELL.map(json.dumps))
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example("9" * 10_000)
@example("\ud800")
@example("(" * 90 + ")" * 90)
@example("-" * 5000 + "1")
@example("a" + ".a" * 5000)
@example("Structure(4 nodes with |none~0|)")
@example("[[[0, 9999]], [[0, 0]]]")
@example("{'normal': -1, 'genotype': [1, 2, 3, 4, 0, 9]}")
@example("Genotype(" * 1000)
@example("Genotype(normal=" + "(" * 5000)
@example('{"cell": "|none~0|"}')
def test_genotypes(text):
    one_line(genotype.from_json, text)
    one_line(space_cell.from_json, text)
    for name, is_python in itertools.product(("", "normal", "compact"), (False, True)):
        one_line(space_cell.from_text, text, name, is_python)


@given(CELL, st.integers(0, 300), st.sampled_from(["", "\0", "\ufeff", '"', "]", "9" * 400]))
def test_genotypes_with_a_slip(cell, at, slip):
    text = json.dumps(cell)
    slipped = text[:at] + slip + text[at + 1 :]
    one_line(space_cell.from_json, slipped)
    one_line(space_cell.from_text, slipped)
    python = str(cell)
    one_line(space_cell.from_text, python[:at] + slip + python[at + 1 :])


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
@example("random:" + "9" * 5000)
@example("random:-1")
@example("random:٣")
@example("~nobody-here/x")
@example("x" * 5000)
def test_names_of_genotypes(name):
    if "\0" not in name:  # no argument of a command has it
        one_line(genotype.load, name)


@given(st.binary(max_size=400) | JSON.map(lambda v: json.dumps(v).encode()))
def test_files_of_a_workdir(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_bytes(data)
    one_line(artifacts.read_json, path, ("task",))
    one_line(artifacts.read_metrics, path, ("step",))
    one_line(artifacts.read_cell, path)
    one_line(artifacts.read_history, path)
    one_line(artifacts.read_architecture, path)


@given(st.fixed_dictionaries(dict.fromkeys(spec.DatasetSpec._fields, JSON)))
def test_records_of_data_sets(tmp_path_factory, values):
    folder = tmp_path_factory.getbasetemp()
    (folder / artifacts.DATASET).write_text(json.dumps(values))
    one_line(spec.read, folder)


TASKS = {load_config(name).task: flatten(load_config(name).to_dict()) for name in
         ("search_cifar", "train_cifar10", "train_imagenet", "segment_voc")}  # fmt: skip


@given(st.sampled_from(sorted(TASKS)), st.data())
def test_values_of_configs(task, data):
    values = TASKS[task]
    key = data.draw(st.sampled_from(sorted(values)))
    one_line(keys.check, values | {key: data.draw(JSON)})


@settings(max_examples=80)
@given(
    st.sampled_from(["search_digits", "train_imagenet", "segment_voc"]),
    st.data(),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
    | st.sampled_from(["nan", "inf", "-1", "1e400", "(", "()", "(1,", "None", "9" * 5000, "[1]", "{}", "abc"]),
)  # fmt: skip
def test_settings_of_configs(name, data, value):
    key = data.draw(st.sampled_from(sorted(flatten(load_config(name).to_dict()))))
    config = one_line(read_config, name, [f"--config.{key}={value}"])
    if not isinstance(config, InputError):
        one_line(keys.check, flatten(config.to_dict()))


def encoded(form, mode="RGB", size=(9, 7), **options):
    import io

    levels = np.random.RandomState(0).randint(0, 256, (size[1], size[0], 4), np.uint8)
    image = Image.fromarray(levels[..., :3]).convert(mode)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


IMAGES = [encoded(form) for form in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]
IMAGES += [encoded("JPEG", "CMYK"), encoded("PNG", "P"), encoded("JPEG", size=(1, 1))]
IMAGES += [
    encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
]


@settings(max_examples=600)
@given(
    st.sampled_from(IMAGES),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8),
    st.floats(0, 1.5),
)
def test_images(image, changes, end):
    """Bytes changed, the rest cut off: an image, or what a reader of images refuses."""
    data = bytearray(image)
    for at, value in changes:
        data[int(at * (len(data) - 1))] = value
    data = bytes(data[: max(1, int(end * len(data)))])
    for read in (
        lambda: pixels.decode(data, 3),
        lambda: pixels.fitted(data, 8, 8, 1),
        lambda: pixels.for_tensorflow(data),
        lambda: crop.center_crop(data, 8),
        lambda: pixels.check(data),
        lambda: pixels.is_gray(data),
    ):
        try:
            read()
        except pixels.UNREADABLE as error:
            line = str(pixels.refused("x.jpg", error))
            assert line.startswith("images: x.jpg cannot be read") and "object at 0x" not in line


def test_a_header_that_promises_gigapixels_is_refused_before_they_are_made():
    jpeg = bytearray(encoded("JPEG"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    png = bytearray(encoded("PNG"))
    png[16:24] = b"\0\xff\xff\xff\0\xff\xff\xff"
    for data in (bytes(jpeg), bytes(png)):
        for read in (pixels.for_tensorflow, pixels.decode, pixels.check):
            with pytest.raises(pixels.UNREADABLE):
                read(data)
