"""The accelerators to compile for: what their compilers need to know, and their peak rates.

Imports no jax: a process has to have `environment` when it starts.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "chips"


class Chip(NamedTuple):
    """flops: a second, by type; bandwidth: bytes a second; launch: seconds that a kernel takes at least."""

    platform: str
    flops: dict[str, float]
    bandwidth: float
    launch: float

    def seconds(self, flops: float, nbytes: float, dtype: str) -> float:
        """A kernel's time if it reached the peak rates: the least that it can take."""
        rate = self.flops.get(dtype, self.flops["f32"])
        return max(flops / rate, nbytes / self.bandwidth, self.launch)


# A GPU's kernels that follow one another begin about two microseconds apart (NVIDIA developer blog, "Getting Started
# with CUDA Graphs", 2019, has 3.4 with a graph). A TPU runs one program; a microsecond for a kernel's first and last
# tile is our guess.
GPU_LAUNCH, TPU_LAUNCH = 2e-6, 1e-6
CHIPS = {
    # NVIDIA's datasheets: FP32 without tensor cores, BF16 with them, without sparsity. A V100 computes BF16 as FP32.
    "h100": Chip("cuda", {"f32": 67e12, "bf16": 989e12}, 3.35e12, GPU_LAUNCH),
    "a100": Chip("cuda", {"f32": 19.5e12, "bf16": 312e12}, 1.555e12, GPU_LAUNCH),
    "v100": Chip("cuda", {"f32": 15.7e12}, 0.9e12, GPU_LAUNCH),
    # Google Cloud documentation of TPU v5e, v5p and v6e, one chip. Their peak is that of bfloat16, which float32 is
    # multiplied in at the default precision.
    "v5e": Chip("tpu", {"f32": 197e12}, 0.819e12, TPU_LAUNCH),
    "v5p": Chip("tpu", {"f32": 459e12}, 2.765e12, TPU_LAUNCH),
    "v6e": Chip("tpu", {"f32": 918e12}, 1.64e12, TPU_LAUNCH),
}
# The least topologies that the TPU's compiler knows.
TPU_TOPOLOGIES = {"v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}


def environment(chip: str, plugins: Path) -> dict[str, str]:
    """The environment of a process that is to compile for the chip, with the compilers in the folder `plugins`."""
    here = dict(os.environ) | {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2"}
    here.pop("JAX_COMPILATION_CACHE_DIR", None)
    if CHIPS[chip].platform == "tpu":
        library = plugins / "tpu" / "libtpu" / "libtpu.so"
        return here | {"TPU_LIBRARY_PATH": str(library), "TPU_SKIP_MDS_QUERY": "1"}
    folders = [plugins / "cuda" / "nvidia" / name for name in ("cuda_nvcc", "cu13")]  # CUDA 12, 13
    toolkit = next((folder for folder in folders if folder.is_dir()), folders[0])
    # Tuning would time kernels, which takes a GPU.
    options = f"--xla_gpu_cuda_data_dir={toolkit} --xla_gpu_autotune_level=0"
    return here | {
        "PATH": _prepended("PATH", toolkit / "bin"),
        "PYTHONPATH": _prepended("PYTHONPATH", plugins / "cuda"),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {options}",
    }


def devices(chip: str, count: int) -> Sequence[Any]:
    """Devices of the chip that jax can compile for, in a process with the chip's `environment`."""
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
