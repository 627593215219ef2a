"""Neural Graph Embedding (Li, Gong, Zhu, AAAI 2020) for neural architecture search, in JAX.

    import nge_jax as nge

    genotype = nge.load_genotype("DARTS_V2")
    result = nge.search.run(nge.load_config("search_digits", "gradient,smoke"), "runs/digits")

`nge.search`, `nge.train` and `nge.segment` each have `run(config, workdir)`, which returns a result, and
`summary(config)`; `help(nge.search)` shows both. Every name below is imported when it is first used: `import nge_jax`
loads neither jax nor TensorFlow.
"""

from etils import epy as _epy

from nge_jax.space.drawing import draw_by as _draw_by
from nge_jax.version import __version__


def _load_drawing() -> object:
    from nge_jax.report import cell

    return cell


_draw_by(_load_drawing)

with _epy.lazy_api_imports(globals()):
    # The tasks, and sizes of networks.
    from nge_jax import cost as cost
    from nge_jax import search as search
    from nge_jax import segment as segment
    from nge_jax import study as study
    from nge_jax import testing as testing
    from nge_jax import train as train
    from nge_jax import trials as trials

    # Compiled programs kept for the next run, as the commands keep them.
    from nge_jax.devices.compilation_cache import use_compilation_cache as use_compilation_cache

    # The paper's contribution: X, Thetas -> P.
    from nge_jax.embedding.model import EdgeModel as EdgeModel
    from nge_jax.embedding.model import edge_model as edge_model

    # Networks of a derived cell, as Flax modules.
    from nge_jax.networks.deeplab import deeplab_network as deeplab_network
    from nge_jax.networks.network import cifar_network as cifar_network
    from nge_jax.networks.network import imagenet_network as imagenet_network

    # Callbacks, which see each epoch.
    from nge_jax.runtime.callbacks import Callback as Callback

    # Parts of one's own: a function that makes the part, and the part's keys.
    from nge_jax.search.relaxations.rule import RelaxationRule as RelaxationRule

    # Configs by name, trained networks by their workdir.
    from nge_jax.settings.configs import load_config as load_config
    from nge_jax.settings.key import Key as Key
    from nge_jax.settings.key import Limits as Limits
    from nge_jax.settings.parts.part import Part as Part

    # Cells.
    from nge_jax.space.genotype import Genotype as Genotype
    from nge_jax.space.genotype import derive as derive
    from nge_jax.space.genotype import list_genotypes as list_genotypes
    from nge_jax.space.genotype import load as load_genotype
    from nge_jax.space.genotype import random_genotype as random_genotype
    from nge_jax.space.parts.checks import with_operations as with_operations
    from nge_jax.space.parts.operation import Operation as Operation
    from nge_jax.space.spaces import DARTS as DARTS
    from nge_jax.space.spaces import NAS_BENCH_201 as NAS_BENCH_201
    from nge_jax.space.spaces import Space as Space

    # Other searches: ask / tell / probs.
    from nge_jax.strategies.base import Strategy as Strategy
    from nge_jax.strategies.base import run_strategy as run_strategy
    from nge_jax.strategies.evolution import evolution as evolution
    from nge_jax.strategies.random_search import random_search as random_search
    from nge_jax.strategies.reinforce import reinforce as reinforce

    # (weights, images, P) -> logits.
    from nge_jax.supernet.model import make_supernet as make_supernet
    from nge_jax.train.trained import load as load_trained
