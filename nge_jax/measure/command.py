"""`nge latency`: times a network for a single image, or all parts of a network into a table.

The network is the one of a run or of an exported file, or a config makes it of a cell. The weights are random then,
which changes no time. A table belongs to a device, this one or another. With a table the command also tells the sum
over the parts of the cell, and how far the sum is from the time measured. The times of a search's cell are recorded in
the search's workdir, for its report.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nge_jax import files
from nge_jax.console import banner
from nge_jax.console.waiting import Waiting
from nge_jax.cost import model_cost
from nge_jax.data.spec import DatasetSpec
from nge_jax.errors import InputError, arguments_as
from nge_jax.export import onnx_file
from nge_jax.latency import costs, parts, record, table, timing
from nge_jax.latency.parts import Features, NetworkShape
from nge_jax.measure import parts as measured_parts
from nge_jax.measure import runtimes
from nge_jax.measure.options import DEFAULT_CONFIG, JAX, ONNXRUNTIME
from nge_jax.measure.runtimes import Runtime
from nge_jax.networks import layers
from nge_jax.networks.network import Network
from nge_jax.search.limits.network import read_limits
from nge_jax.settings.checks import check_complete
from nge_jax.settings.configs import load_config, shipped_name
from nge_jax.space import genotype
from nge_jax.text.digits import three_digits
from nge_jax.train import runner as train_runner
from nge_jax.train import trained
from nge_jax.version import __version__
from nge_jax.workdir import artifacts, recorded

PART_SECONDS = 0.3
BUSY = 0.8  # below this share this process waits for the processor


class Subject(NamedTuple):
    """A network to be timed.

    Attributes:
      title: names the network.
      module: the network.
      spec: describes the images of a trained network; None for a network of a cell alone.
      variables: the weights and batch statistics; None: random.
      shape: of an image, [H, W, C].
      probs: P of the search that has found the cell; None without a search.
      search: the workdir of that search; None without a search.
    """

    title: str
    module: Network
    spec: DatasetSpec | None
    variables: Any
    shape: tuple[int, int, int]
    probs: np.ndarray | None = None
    search: Path | None = None


def run(given: argparse.Namespace) -> None:
    """Measures; `given`: network, a run, a cell, a file or None, and the options of `add_options`.

    Raises:
      InputError: a flag, the cell, the run or the table is refused.
    """
    if given.network is None and given.table is None:
        raise InputError("expected a RUN, a CELL or --table (see nge latency --help)")
    is_file = (given.network or "").endswith(onnx_file.SUFFIX)
    name = given.runtime or (ONNXRUNTIME if is_file else JAX)
    if is_file:
        _measure_file(Path(given.network or "").expanduser(), given, name)
        return
    path = given.table and given.table.expanduser()
    if given.network is None:
        with arguments_as(output="--table"):
            files.check_new(path)
    times = None if path is None or given.network is None else table.read(path)
    runtime = runtimes.start(name, given.device, given.threads)
    subject = _find(given.network, given.config)
    shape = None if path is None else network_shape(subject)
    banner.show(f"network: {subject.title}", f"device: {runtime}")
    if times is None and path is not None and shape is not None:
        times = _write_table(path, shape, runtime)
    measured = _measure(subject, runtime)
    if times is not None and shape is not None:
        for line in compare(times, shape, subject, measured.median):
            print(line)
    if subject.search is not None:
        _record(subject, measured, runtime)


def compare(
    times: costs.Times, shape: NetworkShape, subject: Subject, measured: float
) -> list[str]:
    """Returns lines with the sum over a table's parts, for the cell and for P, and how far it is from `measured`."""
    summed = costs.cell_cost(times, shape, subject.module.genotype)
    lines = [
        f"summed: {three_digits(summed)} ms, {summed / measured - 1:+.1%} of the time measured"
    ]
    if subject.probs is not None:
        expected = costs.expected_cost(times, shape, subject.probs)
        lines.append(f"expected under the last P: {three_digits(expected)} ms")
    return lines


def _record(subject: Subject, measured: timing.Timing, runtime: Runtime) -> None:
    """Adds a time to the record of a search, for the search's report; a folder that cannot be written gets none."""
    assert subject.search is not None
    parameters, multiply_adds = model_cost(subject.module, subject.shape)
    plan, shape = subject.module.plan, "x".join(map(str, subject.shape))
    channels = plan[0].channels // (1 + plan[0].reduction)
    row = {
        "device": str(runtime),
        "network": f"{len(plan)} cells, {channels} channels, images of {shape}",
        "parameters": parameters,
        "multiply_adds": multiply_adds,
        **{name: getattr(measured, name) for name in ("median", "low", "high", "share")},
    }
    try:
        record.add_measured(subject.search, row)
    except OSError as error:
        print(f"warning: the time is not recorded: {error}", file=sys.stderr, flush=True)
        return
    print(f"recorded in {subject.search / artifacts.LATENCY}; nge report {subject.search} shows it")


def network_shape(subject: Subject) -> NetworkShape:
    """Returns the shape whose parts a table has.

    Raises:
      InputError: the network segments images, which a table does not know.
    """
    module = subject.module
    if module.head is not None:
        raise InputError("--table: found a network that segments, expected one that classifies")
    concatenated = dict.fromkeys(genotype.CELL_TYPES, parts.CONCATENATED)
    is_large = getattr(module.stem, "func", None) is layers.ImageNetStem
    image = Features(*subject.shape)
    return NetworkShape(module.plan, image, module.classes, is_large, concatenated)


def _find(name: str | None, recipe: str | None) -> Subject:
    """Finds the network of a run or of a cell.

    Raises:
      InputError, GenotypeError: there is neither a run nor a cell of this name, or the config is refused.
    """
    path = None if name is None else artifacts.find_run(name)
    # A cell's text may be too long for a path, where pathlib raises.
    if path is not None and os.path.isfile(path / artifacts.CONFIG):
        values = recorded.read(path)
        if values.task != "search":
            if recipe is not None:
                raise InputError(f"--config: found {recipe}, expected none: {path} is a training")
            network = trained.load(path)
            title = f"{name}, {_sizes(network.module, network.spec.shape)}"
            shape = network.spec.shape
            return Subject(title, network.module, network.spec, network.variables, shape)
        if artifacts.is_study(values.to_dict()):
            recorded.check_trains(path, values.to_dict())
        return _of_search(path, values, recipe)
    return _of_cell(name, recipe or DEFAULT_CONFIG, {})


def _of_search(path: Path, values: Any, recipe: str | None) -> Subject:
    """Makes the network that the command of a search trains, with P if the search has recorded P."""
    train_config = shipped_name(values.search.get("train_config", "")) or DEFAULT_CONFIG
    changes = {"data.name": values.data.name}
    if recipe is None and (limited := read_limits(path)) is not None:
        changes |= {k: v for k, v in limited[1].items() if not k.startswith("limits.")}
    subject = _of_cell(str(path), recipe or train_config, changes)._replace(search=path)
    file = path / artifacts.ARCHITECTURE
    if not file.is_file():
        return subject
    probs, space = artifacts.read_architecture(file)
    return subject._replace(probs=None if space.is_tabular else probs[-1])


def _of_cell(name: str | None, recipe: str, changes: dict[str, Any]) -> Subject:
    given, _, words = recipe.partition(":")
    loaded = load_config(given, words)
    check_complete(loaded, "train")
    if name is not None:
        changes = {**changes, "genotype": name}
    loaded.update_from_flattened_dict(changes)
    module, images = train_runner.describe_network(loaded)
    title = f"{loaded.genotype} by {recipe}, {_sizes(module, images.shape)}"
    return Subject(title, module, None, None, images.shape)


def _sizes(module: Network, shape: tuple[int, int, int]) -> str:
    cost = model_cost(module, shape)
    return f"{cost.parameters:,} parameters, {cost.multiply_adds:,} multiply-adds"


def _measure(subject: Subject, runtime: Runtime) -> timing.Timing:
    """Times a network for an image, prints the time, and returns it."""
    image = np.random.RandomState(0).randint(0, 256, (1, *subject.shape)).astype(np.uint8)
    spec, variables = subject.spec, subject.variables
    if spec is None:
        channels, labels = subject.shape[-1], ("",) * subject.module.classes
        spec = DatasetSpec("", subject.shape, (0.5,) * channels, (0.25,) * channels, labels)
        variables = runtimes.draw_variables(subject.module, image, train=False)

    def apply(variables: Any, images: Any) -> Any:
        return trained.logits(subject.module, spec, variables, images)

    with Waiting("compiling the network", at_once=False):
        call = runtime.make_call(apply, variables, image)
    return _tell(call, runtime)


def _measure_file(path: Path, given: argparse.Namespace, name: str) -> None:
    """Times an ONNX file."""
    for flag, value in (("--config", given.config), ("--table", given.table)):
        if value is not None:
            raise InputError(f"{flag}: found {value}, expected none for an ONNX file")
    if name != ONNXRUNTIME:
        raise InputError(f"--runtime: found {name}, expected {ONNXRUNTIME} for {path}")
    runtime = runtimes.start(name, given.device, given.threads)
    session = onnx_file.open_session(path, given.threads, given.device)
    sizes = session.get_inputs()[0].shape[1:]
    banner.show(f"network: {path}", f"device: {runtime}")
    image = np.random.RandomState(0).randint(0, 256, (1, *sizes)).astype(np.uint8)
    _tell(lambda: onnx_file.logits(session, image), runtime)


def _tell(call: Callable[[], Any], runtime: Runtime) -> timing.Timing:
    took = timing.measure(call)
    print(f"time an image: {took}, {took.calls} calls", flush=True)
    if runtime.device == "cpu" and took.share < BUSY:
        others = f"{1 - took.share:.0%} of the time"
        line = f"warning: other programs had the processor for {others}, and it is too long"
        print(line, file=sys.stderr, flush=True)
    return took


def _write_table(path: Path, shape: NetworkShape, runtime: Runtime) -> costs.Times:
    """Times all parts of a network and writes the table; returns it."""
    timings = measured_parts.measure_all(shape, runtime, PART_SECONDS)
    remarks = (
        f"device: {runtime}",
        f"measured: {time.strftime(artifacts.TIME)}, nge_jax {__version__}",
    )
    with arguments_as(output="--table"), files.whole_output(path) as new:
        new.write_text(table.to_csv(timings, remarks))
    print(f"table: {path}, {len(timings)} parts")
    return {part: one.median for part, one in timings.items()}
