"""Times one core that decodes and crops images: this input pipeline, a plain pipeline, and JPEG decoders alone.

  python experiments/benchmarks/input_pipeline.py --data_dir=DIR                    ImageNet from a tfds folder
  python experiments/benchmarks/input_pipeline.py --data_dir=DIR --name=folder:DIR

The process keeps to one core (Linux). The ways take turns, pass after pass over the same images. The rate of a way is
the median over its passes, and a ratio divides two such rates. Two clocks run: wall time, and the processor time of
this process. Other processes on the core do not lengthen the processor time.

  this pipeline   reads, decodes and resizes random crops (nge_jax.data.imagenet), as a training's host does
  PIL pipeline    torchvision's transforms for PIL: decodes the whole image, RandomResizedCrop, flip, ColorJitter,
                  the labels and the reading of the files left out
  decoders        the whole image and nothing else: TensorFlow's, PIL's, and simplejpeg (libjpeg-turbo) if installed;
                  the fastest of them is the limit

This project runs flip and color jitter on the device. The last line times them in a separate step on the same core.
A CPU is only a rough substitute for the device.
"""

import collections
import io
import itertools
import math
import os
import random
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from absl import app, flags
from PIL import Image, ImageEnhance

from nge_jax.data.photographs import batches as imagenet
from nge_jax.data.photographs import jitter, record_index
from nge_jax.data.photographs.split import Split
from nge_jax.devices import host_tf

_DIR = flags.DEFINE_string("data_dir", "", "tfds folder")
_NAME = flags.DEFINE_string("name", "imagenet2012", "a TFDS classification set or folder:DIR")
_IMAGES = flags.DEFINE_integer("images", 500, "images a pass")
_PASSES = flags.DEFINE_integer("passes", 5, "passes of each way")
SIZE, STRENGTHS, BATCH = 224, (0.4, 0.4, 0.4, 0.2), 50
FIRST = 4  # batches of a pass before the clock starts: building the pipeline takes 0.3 s an epoch


class Window(NamedTuple):
    """Bounds a part of an image, as PIL's `crop` takes it."""

    left: int
    upper: int
    right: int
    lower: int


def main(_) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before TensorFlow counts the cores
    jax.config.update("jax_platforms", "cpu")
    image_set = imagenet.load(_NAME.value, _DIR.value, SIZE)
    count = min(_IMAGES.value, image_set.train_examples) // BATCH * BATCH
    data = encoded_images(image_set.train, count)
    stream = repeated(image_set, FIRST * BATCH + count)
    epochs = itertools.count()

    def this_pipeline():
        batches = imagenet.train_batches(stream, 0, next(epochs), BATCH)
        for _ in range(FIRST):
            next(batches)
        return seconds_of(lambda: collections.deque(batches, maxlen=0))

    def each(function):
        return lambda: seconds_of(lambda: [function(image) for image in data])

    limits = {f"decoder: {name}": each(function) for name, function in decoders().items()}
    ways = {"this pipeline": this_pipeline, "PIL pipeline": each(pil_pipeline)} | limits
    # Each way has rates [passes, 2]: by wall time and by processor time.
    rates = {name: [] for name in ways}
    for index in range(1 + _PASSES.value):
        for name, way in ways.items():
            seconds = way()
            if index:  # the first pass warms up
                rates[name].append(count / seconds)
    median = {name: np.median(values, axis=0) for name, values in rates.items()}
    fastest = max(limits, key=lambda name: median[name][1])

    sizes = f"{np.mean([len(image) for image in data]) / 1e3:.0f} kB a file on average"
    print(f"{count} images of {_NAME.value}, {sizes}, one core, {_PASSES.value} passes")
    print(
        "| way | images/s | least to greatest | per second of processor time | least to greatest |"
    )
    print("|---|---|---|---|---|")
    for name, values in rates.items():
        middle, low, high = median[name], np.min(values, axis=0), np.max(values, axis=0)
        cells = [f"{m:.0f} | {a:.0f} to {b:.0f}" for m, a, b in zip(middle, low, high, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")
    for name in ("PIL pipeline", fastest):
        wall, processor = median["this pipeline"] / median[name]
        print(f"this pipeline to {name}: {wall:.2f}, of processor time {processor:.2f}")
    print(f"flip, jitter and normalization on this core: {jitter_rate(image_set):.0f} images/s")


def encoded_images(split: Split, count: int) -> list[bytes]:
    """Reads the first images of a split as they are in its files."""
    records = record_index.read(split.records, range(count))
    if split.labels is not None:
        return records
    tf = host_tf.tensorflow()
    image, _ = split.features
    return list(tf.io.parse_example(records, split.features)[image].numpy())


def repeated(image_set: imagenet.ImageSet, count: int) -> imagenet.ImageSet:
    """Repeats the set's training examples until there are `count` examples."""
    split = image_set.train
    index = np.arange(count) % image_set.train_examples
    places = (array[index] for array in split.records[1:])
    split = split._replace(
        records=record_index.Records(split.records.paths, *places),
        labels=None if split.labels is None else split.labels[index],
    )
    return image_set._replace(train=split, train_examples=count)


def seconds_of(work: Callable) -> np.ndarray:
    """Times the work in wall time and in processor time."""
    begin = np.array([time.perf_counter(), time.process_time()])
    work()
    return np.array([time.perf_counter(), time.process_time()]) - begin


def decoders() -> dict:
    """Makes functions that decode a whole JPEG; the keys are the decoders' names."""
    tf = host_tf.tensorflow()

    def fast(image):
        return tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_FAST")

    known = {
        "tf.io.decode_jpeg, INTEGER_FAST": fast,
        "PIL": lambda image: Image.open(io.BytesIO(image)).load(),
    }
    try:
        import simplejpeg
    except ImportError:
        return known
    return known | {"simplejpeg": lambda image: simplejpeg.decode_jpeg(image, fastdct=True)}


def pil_pipeline(encoded: bytes) -> np.ndarray:
    """Applies RandomResizedCrop, RandomHorizontalFlip and ColorJitter as torchvision's code for PIL does."""
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    image = image.crop(random_window(*image.size)).resize((SIZE, SIZE), Image.BILINEAR)
    if random.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for change in random.sample(range(4), 4):
        amount = random.uniform(-STRENGTHS[change], STRENGTHS[change])
        if change < 3:
            image = enhancers[change](image).enhance(1 + amount)
        else:
            hue, *rest = image.convert("HSV").split()
            turned = np.array(hue) + np.array(amount * 255).astype(np.int32).astype(np.uint8)
            image = Image.merge("HSV", (Image.fromarray(turned), *rest)).convert("RGB")
    return np.asarray(image)


def random_window(width: int, height: int) -> Window:
    """Draws the window of torchvision's RandomResizedCrop."""
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            x, y = random.randint(0, width - w), random.randint(0, height - h)
            return Window(left=x, upper=y, right=x + w, lower=y + h)
    side = min(width, height)  # rare, so close to torchvision's fallback is enough
    x, y = (width - side) // 2, (height - side) // 2
    return Window(left=x, upper=y, right=x + side, lower=y + side)


def jitter_rate(image_set: imagenet.ImageSet) -> float:
    """Measures the device's part of the augmentation in images per second of processor time."""
    images = jax.device_put(next(imagenet.train_batches(image_set, 0, 0, BATCH))[0])

    @jax.jit
    def augment(images, key):
        draws = jitter.draw(key, BATCH, flip=True, strengths=STRENGTHS)
        return jitter.apply(images, draws, mean=image_set.mean, std=image_set.std)

    keys = [jax.random.key(i) for i in range(1 + _PASSES.value)]
    seconds = [seconds_of(lambda key=key: augment(images, key).block_until_ready()) for key in keys]
    return BATCH / np.median(seconds[1:], axis=0)[1]


if __name__ == "__main__":
    app.run(main)
