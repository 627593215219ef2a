"""The steps that accelerators run: for each step a function, and a second function that makes the arguments.

The sizes are the paper's unless `Size` changes them. A setting that changes the program also has the paper's value.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from nge_jax import optim
from nge_jax.data import augment
from nge_jax.data.spec import LARGE, MASKS, SMALL, DatasetSpec
from nge_jax.devices.parallel import AXIS
from nge_jax.embedding.model import edge_model
from nge_jax.networks.any_cell import as_arrays
from nge_jax.networks.deeplab import deeplab_network
from nge_jax.networks.network import cifar_network, imagenet_network
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search.several import mapping
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps import relaxation, second_order
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.segment import step as segment_step
from nge_jax.space import genotype
from nge_jax.space.spaces import DARTS, NAS_BENCH_201
from nge_jax.strategies.random_search import random_search
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.nas_bench_201 import NasBench201Supernet
from nge_jax.train import images as training_images
from nge_jax.train import step as train_step
from nge_jax.train.arguments import DropPath, ProgramArguments, make_optimizer
from nge_jax.train.step import TrainState

CELL = genotype.load("DARTS_V2")
# The trainings of several cells share the step's number, which decides the images' changes.
CELL_AXES = TrainState(step=None, params=0, batch_stats=0, opt_state=0, sums=0)  # type: ignore
PIXELS = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
AUGMENTED = gradient_steps.Preprocessing(**PIXELS, pad=4, flip=True)
BATCH, EVERYWHERE = PartitionSpec(AXIS), PartitionSpec()


class Size(NamedTuple):
    """The sizes of a program. None stands for the paper's size.

    batch_size: images a step, over all devices.
    dtype: the type of the activations.
    image_size: pixels of a side. A training has no auxiliary head if the images are too small for it.
    remat: rematerialize the supernet's activations, as config.network.remat.
    """

    cells: int | None = None
    channels: int | None = None
    batch_size: int | None = None
    dtype: str = "float32"
    image_size: int | None = None
    remat: bool = False

    def over(self, cells: int, channels: int, batch_size: int, image_size: int) -> "Size":
        """Fills each None with the paper's size."""
        papers = {
            "cells": cells,
            "channels": channels,
            "batch_size": batch_size,
            "image_size": image_size,
        }
        return self._replace(
            **{name: getattr(self, name) or value for name, value in papers.items()}
        )


class Program(NamedTuple):
    """A function to run on each device of the axis `AXIS`, and the placement of the arguments.

    make_arguments: () -> trees of arrays, for `jax.jit` or `eval_shape`. Spec `BATCH` marks a whole batch.
    returns: the spec of the result.
    donated: indices of the arguments whose memory the result may reuse.
    axes: for each argument the axes, as of `jax.vmap`, over which several are computed side by side; none: one only.
    """

    function: Callable
    make_arguments: Callable[[], tuple[Any, ...]]
    specs: tuple[PartitionSpec, ...]
    returns: PartitionSpec = EVERYWHERE
    donated: tuple[int, ...] = (0,)
    axes: tuple[Any, ...] = ()

    def side_by_side(self, count: int) -> "Program":
        """Returns the step of `count` searches, or of the trainings of `count` cells, in one program."""
        if count == 1:
            return self
        if not self.axes:
            raise ValueError("only steps of a search are computed side by side")

        def stack(axis, array):
            return array if axis is None else jax.tree.map(lambda a: jnp.stack([a] * count), array)

        def make_arguments():
            # The axes are given for whole parts of the arguments.
            return jax.tree.map(stack, self.axes, self.make_arguments(), is_leaf=_is_none)

        def spec(spec, axes):
            return spec if spec == EVERYWHERE or axes is None else PartitionSpec(None, *spec)

        function = jax.vmap(self.function, self.axes, out_axes=self.axes[0])
        specs = tuple(map(spec, self.specs, self.axes))
        return self._replace(function=function, make_arguments=make_arguments, specs=specs)

    def trace(self, devices: Sequence[jax.Device]) -> jax.stages.Traced:
        """Traces the program for a mesh of devices. The devices need not exist."""
        mesh = Mesh(np.array(devices), (AXIS,))
        on_mesh = jax.shard_map(
            self.function,
            mesh=mesh,
            in_specs=self.specs,
            out_specs=self.returns,
            check_vma=False,
        )
        program = jax.jit(
            on_mesh,
            in_shardings=tuple(NamedSharding(mesh, spec) for spec in self.specs),
            out_shardings=NamedSharding(mesh, self.returns),
            donate_argnums=self.donated,
        )
        return program.trace(*jax.eval_shape(self.make_arguments))


def _is_none(axis):
    return axis is None


def search_weights(size: Size) -> Program:
    """The search's step of the supernet's weights."""
    net, size, optimizer, preprocessing = _search(size)
    embedding = edge_model("nge", "printed")
    step = gradient_steps.make_weight_step(net, optimizer, preprocessing)
    return _weight_program(step, functools.partial(_search_state, net, embedding, optimizer), size)


def search_embedding(size: Size) -> Program:
    """The search's step of the graph embedding."""
    net, size, optimizer, preprocessing = _search(size)
    embedding = edge_model("nge", "printed")
    step = gradient_steps.make_embedding_step(net, embedding, optimizer, preprocessing)
    return _embedding_program(
        step, functools.partial(_search_state, net, embedding, optimizer), size
    )


def gumbel_weights(size: Size) -> Program:
    """The step of the supernet's weights that draws an operation for each edge."""
    net, size, optimizer, preprocessing = _search(size)
    embedding, relaxed = edge_model("nge", "printed"), _gumbel(net)
    step = gradient_steps.make_weight_step(relaxed.net, optimizer, preprocessing, relaxed.mix)
    return _weight_program(step, functools.partial(_search_state, net, embedding, optimizer), size)


def gumbel_embedding(size: Size) -> Program:
    """The step of the graph embedding that draws an operation for each edge."""
    net, size, optimizer, preprocessing = _search(size)
    embedding, relaxed = edge_model("nge", "printed"), _gumbel(net)
    step = gradient_steps.make_embedding_step(
        relaxed.net, embedding, optimizer, preprocessing, relaxed.mix
    )
    return _embedding_program(
        step, functools.partial(_search_state, net, embedding, optimizer), size
    )


def partial_weights(size: Size) -> Program:
    """The step of the supernet's weights that mixes operations on a quarter of the channels."""
    net, size, optimizer, preprocessing = _search(size)
    net, embedding = net._replace(share=4), edge_model("nge", "printed", betas=True)
    step = gradient_steps.make_weight_step(net, optimizer, preprocessing)
    return _weight_program(step, functools.partial(_search_state, net, embedding, optimizer), size)


def partial_embedding(size: Size) -> Program:
    """The step of the graph embedding, with weights of edges, on a quarter of the channels."""
    net, size, optimizer, preprocessing = _search(size)
    net, embedding = net._replace(share=4), edge_model("nge", "printed", betas=True)
    step = gradient_steps.make_embedding_step(net, embedding, optimizer, preprocessing)
    return _embedding_program(
        step, functools.partial(_search_state, net, embedding, optimizer), size
    )


def second_order_embedding(size: Size) -> Program:
    """The step of the graph embedding with DARTS's second-order gradient. The step reads a batch of each half."""
    net, size, optimizer, preprocessing = _search(size)
    embedding = edge_model("nge", "printed")
    step = second_order.make_embedding_step(
        net, embedding, optimizer, _numbers().rate, preprocessing
    )

    def make_arguments():
        batch = _images(size)
        return _search_state(net, embedding, optimizer), batch, *batch, _key()

    specs = EVERYWHERE, BATCH, BATCH, BATCH, EVERYWHERE
    return Program(step, make_arguments, specs, axes=(mapping.STATE_AXES, 0, 0, 0, 0))


def nas_bench_201_weights(size: Size) -> Program:
    """The step of the weights of NAS-Bench-201's supernet. `size.cells` is the number of cells a stage."""
    net, embedding, size, optimizer, preprocessing = _nas_bench_201(size)
    step = gradient_steps.make_weight_step(net, optimizer, preprocessing)
    return _weight_program(step, functools.partial(_search_state, net, embedding, optimizer), size)


def nas_bench_201_embedding(size: Size) -> Program:
    """The step of the graph embedding on NAS-Bench-201's supernet."""
    net, embedding, size, optimizer, preprocessing = _nas_bench_201(size)
    step = gradient_steps.make_embedding_step(net, embedding, optimizer, preprocessing)
    return _embedding_program(
        step, functools.partial(_search_state, net, embedding, optimizer), size
    )


def sampled_weights(size: Size) -> Program:
    """The step of the supernet's weights under one cell that a strategy samples."""
    net, size, optimizer, preprocessing = _search(size)
    strategy = random_search(DARTS)
    searcher = strategy_steps.as_edge_model(strategy, queries=1)
    step = strategy_steps.make_weight_step(net.sampled(), strategy, optimizer, preprocessing)
    return _weight_program(step, functools.partial(_search_state, net, searcher, optimizer), size)


def any_cell(size: Size) -> Program:
    """The training step of a search that rates cells by trainings, at `search_folder`'s size. The cell is an argument.

    Cells side by side see the same images, changed alike.
    """
    size = size.over(cells=3, channels=4, batch_size=64, image_size=32)
    model = cifar_network(CELL, auxiliary=False, **_network(size))

    def step(state, images, labels, key, cell):
        network = model.clone(genotype=cell)
        train = train_step.make_train_step(
            network, _sgd(), _recipe(auxiliary_weight=0.0, pad=4), _numbers()
        )
        return train(state, images, labels, key)

    def make_arguments():
        (images, labels), cell = _images(size), as_arrays(CELL)
        network, shape = model.clone(genotype=cell), images.shape[1:]
        state = train_step.new_state(network, _sgd(), jax.random.key(0), shape)
        return state, images, labels, _key(), cell

    specs = EVERYWHERE, BATCH, BATCH, EVERYWHERE, EVERYWHERE
    return Program(step, make_arguments, specs, axes=(CELL_AXES, None, None, None, 0))


def train_cifar(size: Size) -> Program:
    """The training step of DARTS_V2 on CIFAR-10, with its auxiliary head, drop-path and cutout."""
    size = size.over(cells=20, channels=36, batch_size=128, image_size=32)
    auxiliary = _auxiliary(size, SMALL)
    model = cifar_network(CELL, auxiliary=auxiliary > 0, **_network(size))
    recipe = _recipe(auxiliary_weight=auxiliary, pad=4, cutout=16)
    return _train_program(model, recipe, _numbers(drop_path=DropPath(0.3, 1000)), size)


def train_imagenet(size: Size) -> Program:
    """The training step of DARTS_V2 on ImageNet, for one of 4 devices: 128 images of a batch of 512."""
    size = size.over(cells=14, channels=48, batch_size=128, image_size=224)
    auxiliary = _auxiliary(size, LARGE)
    model = imagenet_network(CELL, auxiliary=auxiliary > 0, **_network(size))
    jitter = (0.4, 0.4, 0.4, 0.2)
    recipe = _recipe(auxiliary_weight=auxiliary, label_smoothing=0.1, jitter=jitter)
    return _train_program(model, recipe, _numbers(), size)


def segmentation(size: Size) -> Program:
    """The training step of DeepLabv3 with the backbone DARTS_V2 and output stride 16."""
    size = size.over(cells=14, channels=48, batch_size=16, image_size=513)
    model = deeplab_network(CELL, classes=21, output_stride=16, **_network(size))
    shape = size.image_size, size.image_size, 3
    spec = DatasetSpec(MASKS, shape, **PIXELS, labels=tuple(map(str, range(21))))
    step = segment_step.make_segment_step(model, _sgd(), spec, accumulate=1, steps_per_epoch=100)

    def make_arguments():
        images, _ = _images(size)
        masks = jax.random.randint(jax.random.key(2), images.shape[:3], 0, 21).astype(jnp.uint8)
        return train_step.new_state(model, _sgd(), jax.random.key(0), shape), images, masks

    return _step_program(step, make_arguments)


def predict(size: Size) -> Program:
    """Class probabilities of images by DARTS_V2's network for ImageNet."""
    size = size.over(cells=14, channels=48, batch_size=64, image_size=224)
    model = imagenet_network(CELL, **_network(size))

    def probabilities(variables, images):
        x = augment.normalize(images, **PIXELS)
        return jax.nn.softmax(model.apply(variables, x, train=False)[0])

    def make_arguments():
        images, _ = _images(size)
        x = augment.normalize(images[:1], **PIXELS)
        return model.init(jax.random.key(0), x, train=False), images

    return Program(probabilities, make_arguments, (EVERYWHERE, BATCH), BATCH, donated=())


PROGRAMS = {
    build.__name__: build
    for build in (
        search_weights,
        search_embedding,
        gumbel_weights,
        gumbel_embedding,
        partial_weights,
        partial_embedding,
        second_order_embedding,
        nas_bench_201_weights,
        nas_bench_201_embedding,
        sampled_weights,
        any_cell,
        train_cifar,
        train_imagenet,
        segmentation,
        predict,
    )
}
# These are compiled by `parallel.compile_lowered`. The others have no compiler options of this program.
SEARCHES = tuple(PROGRAMS)[:10]


def _search(size):
    """Returns the supernet as accelerators run it, all sizes, the optimizer of both groups and the input recipe."""
    size = size.over(cells=8, channels=16, batch_size=64, image_size=32)
    net = make_supernet(
        size.cells,
        size.channels,
        10,
        schedule="together",
        dtype=jnp.dtype(size.dtype),
        remat=size.remat,
    )
    return net, size, _optimizer(), AUGMENTED


def _nas_bench_201(size):
    """Returns the values of `_search` for the supernet and the edge model of NAS-Bench-201."""
    size = size.over(cells=5, channels=16, batch_size=64, image_size=32)
    net = NasBench201Supernet(
        size.cells, size.channels, 10, dtype=jnp.dtype(size.dtype), remat=size.remat
    )
    return net, edge_model("nge", "printed", NAS_BENCH_201), size, _optimizer(), AUGMENTED


def _optimizer():
    return optim.Optimizer(
        {WEIGHTS: _sgd(), EMBEDDING: optim.adam(6e-4, b1=0.5, b2=0.999, weight_decay=1e-3)}
    )


def _gumbel(net):
    temperatures = relaxation.Line(10.0, 0.1, epochs=25, steps=2 * 390)
    return relaxation.gumbel(net.sampled(), temperatures)


def _search_state(net, edge_model, optimizer):
    return gradient_steps.init_state(net, edge_model, optimizer, 25, jax.random.key(0))


def _weight_program(step, make_state, size):
    def make_arguments():
        state = make_state()
        probs = jax.tree.map(lambda history: history[0], state.history)
        return state, probs, *_images(size), _key()

    specs = EVERYWHERE, EVERYWHERE, BATCH, BATCH, EVERYWHERE
    return Program(step, make_arguments, specs, axes=(mapping.STATE_AXES, 0, 0, 0, 0))


def _embedding_program(step, make_state, size):
    program = _step_program(step, lambda: (make_state(), *_images(size)))
    return program._replace(axes=(mapping.STATE_AXES, 0, 0, 0))


def _train_program(model, recipe, numbers, size):
    step = train_step.make_train_step(model, _sgd(), recipe, numbers)

    def make_arguments():
        images, labels = _images(size)
        state = train_step.new_state(model, _sgd(), jax.random.key(0), images.shape[1:])
        return state, images, labels

    return _step_program(step, make_arguments)


def _step_program(step, make_arguments):
    """Makes the program of a step that takes a key after the made arguments."""
    specs = EVERYWHERE, BATCH, BATCH, EVERYWHERE
    return Program(step, lambda: (*make_arguments(), _key()), specs)


def _network(size):
    return {"cells": size.cells, "channels": size.channels, "dtype": jnp.dtype(size.dtype)}


def _auxiliary(size, kind):
    """Returns the weight of the auxiliary head's loss. It is 0 (no head) if the images are too small to pool."""
    return 0.4 if size.image_size >= training_images.AUXILIARY_SIZES[kind] else 0.0


def _recipe(**changes):
    nothing = {"label_smoothing": 0.0, "pad": 0, "cutout": 0}
    return train_step.Recipe(flip=True, **PIXELS, **nothing | changes)


def _numbers(drop_path=None):
    return ProgramArguments(
        rate=optim.Cosine(0.025, 1000),
        weights=optim.SgdNumbers(momentum=0.9, weight_decay=3e-4, clip_norm=5.0),
        steps_per_epoch=100,
        drop_path=drop_path,
    )


def _sgd():
    numbers = _numbers()
    return make_optimizer(numbers.weights, numbers.rate)


def _images(size):
    """Random images as bytes, and labels."""
    shape = size.batch_size, size.image_size, size.image_size, 3
    images = jax.random.bits(jax.random.key(3), shape, jnp.uint8)
    return images, jax.random.randint(jax.random.key(4), shape[:1], 0, 10)


def _key():
    return jax.random.key(1)
