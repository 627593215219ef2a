"""Estimates the time of a search on an accelerator that reaches its published peak rates.

The roofline of a step is the larger of two lower bounds: flops over peak flops per second, and bytes over memory
bandwidth.
"""

from typing import NamedTuple


class Chip(NamedTuple):
    """Describes a chip by its published peak rates for arrays of a dtype."""

    name: str
    dtype: str
    flops: float  # per second
    bandwidth: float  # bytes per second


CHIPS = (
    # NVIDIA V100 SXM2 datasheet (2020): single precision, HBM2.
    Chip(name="V100 SXM2", dtype="float32", flops=15.7e12, bandwidth=900e9),
    # NVIDIA H100 SXM datasheet: FP32 without tensor cores, BF16 with them without sparsity, HBM3.
    Chip(name="H100 SXM", dtype="float32", flops=67e12, bandwidth=3.35e12),
    Chip(name="H100 SXM", dtype="bfloat16", flops=989e12, bandwidth=3.35e12),
    # Google Cloud documentation of TPU v5e, one chip.
    Chip(name="TPU v5e", dtype="bfloat16", flops=197e12, bandwidth=819e9),
)
PAPER_HOURS = 2.4  # 0.1 GPU-days on one V100 (paper Table 1)


class Cost(NamedTuple):
    """The flops and bytes of a step. Bytes are as compiled for the CPU, and with every array in memory."""

    flops: float
    fused: float
    unfused: float


def step_seconds(chip: Chip, flops: float, bytes_accessed: float) -> float:
    """Estimates the least time of a step."""
    return max(flops / chip.flops, bytes_accessed / chip.bandwidth)


def table(costs: dict[str, list[Cost]], steps: int, epochs: int) -> str:
    """Writes the estimates as a Markdown table.

    Args:
        costs: by dtype, the costs of the weight step and the embedding step.
        steps: steps of each kind in an epoch.
        epochs: epochs of a search.
    """
    lines = [
        f"| chip | dtype | step, flops ms | step, bytes ms | epoch s | {epochs} epochs h | h, nothing fused |",
        "|---|---|---|---|---|---|---|",
    ]
    for chip in CHIPS:
        both = costs[chip.dtype]
        arithmetic = sum(cost.flops for cost in both) / chip.flops / 2
        memory = sum(cost.fused for cost in both) / chip.bandwidth / 2
        epoch = steps * sum(step_seconds(chip, c.flops, c.fused) for c in both)
        unfused = steps * sum(step_seconds(chip, c.flops, c.unfused) for c in both)
        lines.append(
            f"| {chip.name} | {chip.dtype} | {1e3 * arithmetic:.2f} | {1e3 * memory:.2f} | {epoch:.1f} "
            f"| {epochs * epoch / 3600:.2f} | {epochs * unfused / 3600:.2f} |"
        )
    lines.append(f"| V100, measured by the paper | float32 | | | | {PAPER_HOURS} | |")
    return "\n".join(lines)
