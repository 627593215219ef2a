"""The accelerators to compile for: what their compilers need to know, and their peak rates.

This module does not import jax, because a process needs `environment` before jax starts.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ahead.kernels import DEPTHWISE, ONE_IMAGE, Kernel

FOLDER = Path(__file__).parent / "chips"


class Chip(NamedTuple):
    """The rates that bound the kernels of a chip.

    Attributes:
        platform: the name of the platform in jax.
        flops: peak rate per second by dtype.
        bandwidth: peak rate in bytes per second.
        launch: the fewest seconds of a kernel.
        reach: the part of the bandwidth that kernels reach.
        depthwise: rate per second by dtype of depthwise convolutions; none: the peak rate.
        processors: the multiprocessors. A convolution of one image computes a group on each at a time.
        term: seconds for each term of the sums in such a group.
        host_launch: seconds for each launch by the host.
    """

    platform: str
    flops: dict[str, float]
    bandwidth: float
    launch: float
    reach: float = 1.0
    depthwise: dict[str, float] = {}
    processors: int = 1
    term: float = 0.0
    host_launch: float = 0.0

    def least(self, kernel: Kernel) -> float:
        """Returns the lower bound of a kernel's time in seconds: the time at the chip's peak rates."""
        rate = self.flops.get(kernel.dtype, self.flops["f32"])
        return max(kernel.flops / rate, kernel.nbytes / self.bandwidth, self.launch)

    def seconds(self, kernel: Kernel) -> float:
        """Estimates a kernel's time in seconds: the time at the rates that such kernels reach."""
        rate = self.flops.get(kernel.dtype, self.flops["f32"])
        if kernel.form in (DEPTHWISE, ONE_IMAGE) and self.depthwise:
            rate = self.depthwise.get(kernel.dtype, self.depthwise["f32"])
        sums = 0.0
        if kernel.form == ONE_IMAGE:
            sums = kernel.terms * self.term * -(-kernel.groups // self.processors)
        memory = kernel.nbytes / (self.bandwidth * self.reach)
        return max(kernel.flops / rate, memory, self.launch, sums)


# Successive kernels on a GPU begin about two microseconds apart. NVIDIA's developer blog measured 3.4 with a graph
# ("Getting Started with CUDA Graphs", 2019). A TPU runs one program. We guess a microsecond for the first and last tile
# of each kernel.
GPU_LAUNCH, TPU_LAUNCH = 2e-6, 1e-6
# The part of the bandwidth is a guess: a whole training of DARTS_V2 reached 55 % on an H200. There five depthwise
# convolutions, 5x5, of 16 channels each took 160 of 200 microseconds in float32, with 0.79 GFLOP, and 100 in bfloat16.
# With dilation the gradient took 3.2 ms longer: sums of 65,536 terms in 80 groups. A launch by the host is a guess.
RATES = {"f32": 5e12, "bf16": 8e12}


def _gpu(flops: dict[str, float], bandwidth: float, processors: int) -> Chip:
    """Makes a GPU. Depthwise convolutions are as slow beside the peak rate as on an H200."""
    part = flops["f32"] / 67e12
    return Chip(
        "cuda",
        flops,
        bandwidth,
        GPU_LAUNCH,
        reach=0.65,
        depthwise={dtype: part * rate for dtype, rate in RATES.items()},
        processors=processors,
        term=3.2e-3 / 65_536,
        host_launch=5e-6,
    )


CHIPS = {
    # NVIDIA's datasheets: FP32 without tensor cores, BF16 with them, without sparsity. A V100 computes BF16 as FP32.
    "h100": _gpu({"f32": 67e12, "bf16": 989e12}, 3.35e12, 132),
    "a100": _gpu({"f32": 19.5e12, "bf16": 312e12}, 1.555e12, 108),
    "v100": _gpu({"f32": 15.7e12}, 0.9e12, 80),
    # Google Cloud documentation of TPU v5e, v5p and v6e, one chip. The peak rates are for bfloat16: a TPU multiplies
    # float32 in bfloat16 at the default precision.
    "v5e": Chip("tpu", {"f32": 197e12}, 0.819e12, TPU_LAUNCH),
    "v5p": Chip("tpu", {"f32": 459e12}, 2.765e12, TPU_LAUNCH),
    "v6e": Chip("tpu", {"f32": 918e12}, 1.64e12, TPU_LAUNCH),
}
# The smallest topologies that the TPU's compiler accepts.
TPU_TOPOLOGIES = {"v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}


def environment(chip: str, plugins: Path) -> dict[str, str]:
    """Returns the environment variables of a process that compiles for the chip with the compilers in `plugins`."""
    here = dict(os.environ) | {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
    here.pop("JAX_COMPILATION_CACHE_DIR", None)
    if CHIPS[chip].platform == "tpu":
        library = plugins / "tpu" / "libtpu" / "libtpu.so"
        return here | {"TPU_LIBRARY_PATH": str(library), "TPU_SKIP_MDS_QUERY": "1"}
    folders = [plugins / "cuda" / "nvidia" / name for name in ("cuda_nvcc", "cu13")]  # CUDA 12, 13
    toolkit = next((folder for folder in folders if folder.is_dir()), folders[0])
    # Autotuning times kernels, which needs a GPU.
    options = f"--xla_gpu_cuda_data_dir={toolkit} --xla_gpu_autotune_level=0"
    return here | {
        "PATH": _prepended("PATH", toolkit / "bin"),
        "PYTHONPATH": _prepended("PYTHONPATH", plugins / "cuda"),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {options}",
    }


def devices(chip: str, count: int) -> Sequence[Any]:
    """Lists devices of the chip that jax can compile for. The process must have the chip's `environment`."""
    from jax.experimental import topologies

    if CHIPS[chip].platform == "tpu":
        topology = topologies.get_topology_desc(TPU_TOPOLOGIES[chip], "tpu")
    else:
        name = f"1x1x{count}"
        text = (FOLDER / f"{chip}.txtpb").read_text()
        topology = topologies.get_topology_desc(name, "cuda", topology=name, target_config=text)
    return topology.devices[:count]


def _prepended(variable, folder):
    return os.pathsep.join(filter(None, (str(folder), os.environ.get(variable))))
