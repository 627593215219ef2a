"""The picture of P over the epochs."""

import numpy as np
import pytest

import curves_of_p
from nge_jax.errors import InputError
from nge_jax.space.spaces import DARTS, NAS_BENCH_201
from nge_jax.workdir import artifacts


def make_run(path, space, epochs):
    """Writes the P of a search: P moves from uniform to one operation."""
    path.mkdir()
    uniform = np.full(space.shape, 1 / len(space.operations))
    chosen = np.eye(len(space.operations))[np.zeros(space.shape[:2], int)]
    parts = np.linspace(0, 1, epochs + 1)[:, None, None, None]
    artifacts.write_architecture(path, (1 - parts) * uniform + parts * chosen, space)
    return path


def test_a_line_for_each_operation_of_each_cell_type(tmp_path):
    runs = {str(n): make_run(tmp_path / str(n), DARTS, epochs=n) for n in (2, 5)}
    figure = curves_of_p.draw(runs)
    assert len(figure.axes) == 4
    for n, axes in zip((2, 5, 2, 5), figure.axes, strict=True):
        *_, first = (line for line in axes.lines[1:] if line.get_ydata()[-1] == 1)
        np.testing.assert_allclose(first.get_ydata(), np.linspace(1 / 7, 1, n + 1))
        assert len(axes.lines) == 1 + 7
        assert axes.get_ylim()[1] > 1


def test_searches_of_two_spaces_are_refused(tmp_path):
    spaces = {"darts": DARTS, "other": NAS_BENCH_201}
    runs = {name: make_run(tmp_path / name, space, epochs=1) for name, space in spaces.items()}
    with pytest.raises(InputError, match="of two spaces"):
        curves_of_p.draw(runs)
