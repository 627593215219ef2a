"""The table of epochs of a training or a segmentation."""

import pytest

from nge_jax.console.progress import table_header, table_row
from nge_jax.train import record

ROW = {
    "epoch": 1000,
    "train_loss": 6.90775,
    "train_accuracy": 1.0,
    "validation_accuracy": 1.0,
    "learning_rate": 1.23e-05,
    "images_per_second": 123_456.78,
    "seconds": 9999.9,
}


@pytest.mark.parametrize("validates", [False, True])
def test_a_table_fits_80_columns(validates):
    columns = record.make_columns(validates=validates)
    header, row = table_header(columns), table_row(columns, ROW)
    assert len(header) == len(row) <= 80
