"""Tells which edge models move all edges alike, from the derivative of their logits at random initial parameters.

  python experiments/edges_alike.py                  both spaces, a minute on a CPU; writes OUT/edges_alike.md and .csv
  python experiments/edges_alike.py --seeds=1        faster

Nothing is trained, and no image is read. For each space, edge model and form the table has means over seeds, for the
normal cell:

    common share    the part of the logits' squared movement that all edges have in common, for random gradients
    rank            the effective rank of the edges' kernel
    step            how far a logit moves in Adam's first step at the paper's rate of 6e-4
    part            the part of that rate at which a step moves a logit as far as free logits move (embedding.rate)
    modal edges     how many edges have the most frequent best operation, before the search
"""

import argparse
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from nge_jax.embedding.model import EdgeModel, Form, edge_model
from nge_jax.embedding.movement import matched_part, movement
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, Space

RATE = 6e-4
SPACES = {"darts": DARTS, "nas_bench_201": NAS_BENCH_201}
# The rows: the edge model, the reading of Eq. 6 and the form.
ROWS = {
    "free logits": ("alpha", "printed", Form()),
    "plain": ("plain", "printed", Form()),
    "rnn": ("rnn", "printed", Form()),
    "nge, Eq. 6 as printed": ("nge", "printed", Form()),
    "nge, predecessors": ("nge", "predecessors", Form()),
    "nge, norm=center": ("nge", "printed", Form(norm="center")),
    "nge, norm=pairnorm": ("nge", "printed", Form(norm="pairnorm")),
    "nge, norm=pairnorm_center": ("nge", "printed", Form(norm="pairnorm_center")),
    "nge, classifier=per_edge": ("nge", "printed", Form(classifier="per_edge")),
    "nge, per_edge and pairnorm": ("nge", "printed", Form("per_edge", "pairnorm")),
    "nge, residual=free": ("nge", "printed", Form(residual="free")),
    "nge, predecessors, per_edge": ("nge", "predecessors", Form(classifier="per_edge")),
    "rnn, classifier=per_edge": ("rnn", "printed", Form(classifier="per_edge")),
    "plain, classifier=per_edge": ("plain", "printed", Form(classifier="per_edge")),
}
HEADS = ("space", "edge model", "common share", "rank", "step", "part of the rate", "modal edges")


class Line(NamedTuple):
    """A line of the table; the fields are those of HEADS."""

    space: str
    model: str
    common_share: float
    rank: float
    step: float
    part: float
    modal_edges: float

    def cells(self) -> list[str]:
        """Writes the fields."""
        forms = (".2f", ".1f", ".4f", ".3g", ".1f")
        return [self.space, self.model, *map(format, self[2:], forms)]


def modal_edges(model: EdgeModel, key: jax.Array) -> int:
    """Counts the edges of the normal cell whose best operation is the most frequent one, before the search."""
    assert model.logits is not None
    best = np.asarray(model.logits(model.init(key)))[0].argmax(-1)
    return int(np.bincount(best).max())


def measure(name: str, space: Space, row: str, seeds: int) -> Line:
    """Measures an edge model."""
    of_model, adjacency, form = ROWS[row]
    model = edge_model(of_model, adjacency, space, form=form)
    keys = [jax.random.key(seed) for seed in range(seeds)]
    moved = np.array([[field[0] for field in movement(model, key)] for key in keys]).mean(0)
    share, rank, step = moved.tolist()
    modal = float(np.mean([modal_edges(model, key) for key in keys]))
    # Free logits beside a model have a rate of their own.
    part = matched_part(edge_model(of_model, adjacency, space, form=form._replace(residual="none")))
    return Line(name, row, share, rank, RATE * step, part, modal)


def measure_all(seeds: int) -> Iterator[Line]:
    """Measures all edge models in all spaces."""
    for name, space in SPACES.items():
        for row in ROWS:
            yield measure(name, space, row, seeds)


def main(options: argparse.Namespace) -> None:
    lines = [HEADS, *(line.cells() for line in measure_all(options.seeds))]
    table = [f"| {' | '.join(cells)} |" for cells in lines]
    table.insert(1, f"|{'---|' * len(HEADS)}")
    text = "\n".join(table) + "\n"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "edges_alike.md").write_text(text)
    sheet = io.StringIO()
    csv.writer(sheet, lineterminator="\n").writerows(lines)
    (options.out / "edges_alike.csv").write_text(sheet.getvalue())
    print(text)


def parser() -> argparse.ArgumentParser:
    """Makes the parser of this table's flags."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--seeds", type=int, default=4, help="initial parameters; default: 4")
    flags.add_argument("--out", type=Path, default=Path("runs/edges_alike"), help="results")
    return flags


if __name__ == "__main__":
    main(parser().parse_args())
