"""The accelerators to compile for: what their compilers need to know, and their peak rates.

This module does not import jax, because a process needs `environment` before jax starts.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "chips"


class Chip(NamedTuple):
    """flops: peak rate per second by dtype; bandwidth: bytes per second; launch: the fewest seconds of a kernel."""

    platform: str
    flops: dict[str, float]
    bandwidth: float
    launch: float

    def seconds(self, flops: float, nbytes: float, dtype: str) -> float:
        """Returns the lower bound of a kernel's time in seconds: the time at the chip's peak rates."""
        rate = self.flops.get(dtype, self.flops["f32"])
        return max(flops / rate, nbytes / self.bandwidth, self.launch)


# Successive kernels on a GPU begin about two microseconds apart. NVIDIA's developer blog measured 3.4 with a graph
# ("Getting Started with CUDA Graphs", 2019). A TPU runs one program. We guess a microsecond for the first and last tile
# of each kernel.
GPU_LAUNCH, TPU_LAUNCH = 2e-6, 1e-6
CHIPS = {
    # NVIDIA's datasheets: FP32 without tensor cores, BF16 with them, without sparsity. A V100 computes BF16 as FP32.
    "h100": Chip("cuda", {"f32": 67e12, "bf16": 989e12}, 3.35e12, GPU_LAUNCH),
    "a100": Chip("cuda", {"f32": 19.5e12, "bf16": 312e12}, 1.555e12, GPU_LAUNCH),
    "v100": Chip("cuda", {"f32": 15.7e12}, 0.9e12, GPU_LAUNCH),
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
