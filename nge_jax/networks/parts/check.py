"""Tries a user's own operations before a network is compiled: shapes at each of their places, and a few numbers."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels.layer import Layer
from nge_jax.space.genotype import NUM_INPUTS, Genotype
from nge_jax.space.parts import outside
from nge_jax.space.parts.loading import load_operation
from nge_jax.space.parts.modules import blamed
from nge_jax.space.parts.operation import fan_in, map_shapes
from nge_jax.space.parts.reference import Loaded, is_reference
from nge_jax.space.spaces import Space
from nge_jax.space.stack import CellSpec

IMAGES, SIZE = 2, 8  # an input is [2, 8, 8, C]


class Place(NamedTuple):
    """A place of an operation in a network: the channels, the stride and the spacing of `kernels.layer.Layer`."""

    channels: int
    stride: int = 1
    spacing: tuple[int, int] = (1, 1)


def check_space(space: Space, plan: Iterable[CellSpec]) -> None:
    """Tries the user's own operations of a space at the places of a supernet.

    Args:
        space: the space.
        plan: the cells of the supernet; their channels are the channels of the operations.

    Raises:
        InputError: an operation is wrong; the line names the operation, and the line of the file.
    """
    named = [(name, place) for spec in plan for place in _places(spec) for name in space.operations]
    _check(named, all_read=True)


def check_cells(genotype: Genotype, plan: Iterable[CellSpec]) -> None:
    """Tries the user's own operations of a genotype at the places of a network. It raises as `check_space` does.

    Args:
        genotype: the cells.
        plan: the cells of the network, first to last.
    """
    _check(
        (operation, _places(spec)[0 if source < NUM_INPUTS else -1])
        for spec in plan
        for operation, source in genotype.cell("reduction" if spec.reduction else "normal")[0]
    )


def check_operation(loaded: Loaded, places: Iterable[Place], *, all_read: bool = True) -> None:
    """Tries an operation: the shapes at each place, and at the first place of each stride finite numbers.

    Args:
        loaded: the operation.
        places: the places.
        all_read: whether a weight that the result does not depend on is refused.

    Raises:
        InputError: the operation is wrong.
    """
    tried: set[int] = set()
    for place in sorted({*places}):
        _check_shapes(loaded, place, all_read)
        if place.stride not in tried:
            _check_numbers(loaded, place)
        tried.add(place.stride)


def computed(loaded: Loaded, place: Place) -> tuple[Any, np.ndarray, jax.Array]:
    """Computes an operation for random numbers, normalized with the statistics of the batch; returns weights, x, y."""
    weights, x = _draw_input(loaded, place)
    # Unoptimized, the program compiles in a third of the time.
    compute = functools.partial(_apply, loaded, place)
    compute = jax.jit(compute, compiler_options={"xla_backend_optimization_level": 0})
    return weights, x, compute(weights, x)


def _check(named: Iterable[tuple[str, Place]], *, all_read: bool = False) -> None:
    places: dict[str, list[Place]] = {}
    for name, place in named:
        if is_reference(name):
            places.setdefault(name, []).append(place)
    for name in places:
        check_operation(load_operation(name), places[name], all_read=all_read)


def _places(spec: CellSpec) -> tuple[Place, ...]:
    """Lists the places in a cell: first of edges that leave the cell's inputs, last of all others."""
    _, before, after = spec.spacing
    first = Place(spec.channels, 2 if spec.reduction else 1, (before, after))
    return first, Place(spec.channels, 1, (after, after))


def _check_shapes(loaded: Loaded, place: Place, all_read: bool) -> None:
    """Traces an operation, as a program does; nothing is computed."""
    shapes = outside.parameters_of(loaded, place.channels, place.stride)
    weights = map_shapes(lambda _, shape: jax.ShapeDtypeStruct(shape, jnp.float32), shapes)
    x = jax.ShapeDtypeStruct((IMAGES, SIZE, SIZE, place.channels), jnp.float32)
    traced, y = jax.make_jaxpr(functools.partial(_apply, loaded, place), return_shape=True)(
        weights, x
    )
    if not jnp.issubdtype(y.dtype, jnp.floating):
        raise outside.refusal(loaded, place.stride, f"found {y.dtype}, expected float32")
    unread = [*_unread(traced.jaxpr, weights)] if all_read else []
    if unread:
        names = ", ".join(unread)
        expected = "expected a result that depends on each weight of `parameters`"
        raise outside.refusal(loaded, place.stride, f"reads no {names}, {expected}")


def _unread(traced: Any, weights: Any) -> Iterator[str]:
    """Yields the weights that the result of a traced function does not depend on; the weights are traced first."""
    read = {id(variable) for variable in traced.outvars}
    for equation in reversed(traced.eqns):
        if equation.effects or any(id(variable) in read for variable in equation.outvars):
            read |= {id(variable) for variable in equation.invars}
    paths = [path for path, _ in jax.tree.leaves_with_path(weights)]
    for path, variable in zip(paths, traced.invars, strict=False):  # the last one is x
        if id(variable) not in read:
            yield jax.tree_util.keystr(path, simple=True, separator="/")


def _check_numbers(loaded: Loaded, place: Place) -> None:
    """Computes an operation and the gradient of the first weights for normal random numbers."""
    weights, x = _draw_input(loaded, place)

    def loss(weights, x):
        y = _apply(loaded, place, weights, x)
        return (y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)).sum(), y

    compute = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    # Unoptimized, the program compiles in a third of the time.
    compute = jax.jit(compute, compiler_options={"xla_backend_optimization_level": 0})
    where = f"operation {loaded.name}: the gradient with stride {place.stride}"
    with blamed(where):
        (_, y), gradients = compute(weights, x)
        arrays = {"": y, "in the gradient of x": gradients[1]}
        arrays["in the gradient of the weights"] = gradients[0]
    for name, tree in arrays.items():
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)):
            text = " ".join(filter(None, ("found NaN or infinity", name, "for normal numbers")))
            raise outside.refusal(loaded, place.stride, f"{text}, expected finite numbers")


def _draw_input(loaded: Loaded, place: Place) -> tuple[Any, np.ndarray]:
    shapes = outside.parameters_of(loaded, place.channels, place.stride)
    return map_shapes(_draw, shapes), _normal((IMAGES, SIZE, SIZE, place.channels))


def _apply(loaded: Loaded, place: Place, weights: Any, x: jax.Array) -> Any:
    layer = Layer(place.stride, _normalize, search_norm=_normalize, spacing=place.spacing)
    return outside.apply_of(loaded, weights, x, layer)


def _normalize(x: jax.Array) -> jax.Array:
    """Normalizes each channel with the statistics of the batch, as all networks do in training."""
    others = tuple(range(x.ndim - 1))
    centered = x - x.mean(others)
    return centered * lax.rsqrt(jnp.square(centered).mean(others) + 1e-5)


def _draw(path: str, shape: tuple[int, ...]) -> Any:
    """Draws weights as networks begin with, see `space.parts.operation.Operation.parameters`."""
    del path
    if not fan_in(shape):
        return np.zeros(shape, np.float32)
    bound = fan_in(shape) ** -0.5
    return np.random.default_rng(1).uniform(-bound, bound, shape).astype(np.float32)


def _normal(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)
