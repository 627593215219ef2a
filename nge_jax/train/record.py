"""The record of each epoch of a training: the row of metrics, and the table that shows the row."""

from nge_jax.console.progress import Column, Columns
from nge_jax.train.step import TrainState

COLUMNS = (
    Column("epoch", "{epoch}"),
    Column("loss", "{train_loss:.4f}"),
    Column("accuracy", "{train_accuracy:.2%}"),
    Column("rate", "{learning_rate:.3g}"),
    Column("images/s", "{images_per_second:.1f}"),
    Column("seconds", "{seconds:.1f}"),
)
VALIDATED = Column("validated", "{validation_accuracy:.2%}")


def make_columns(*, validates: bool) -> Columns:
    """Returns the columns of the table of epochs, one more if images are held out."""
    return (*COLUMNS, VALIDATED) if validates else COLUMNS


def epoch_metrics(state: TrainState, learning_rate: float) -> dict[str, float]:
    """Returns the row of the epoch that ends with `state`; `learning_rate` is the rate of the epoch's last step."""
    return {
        "train_loss": float(state.sums.loss / state.sums.count),
        "train_accuracy": float(state.sums.correct / state.sums.count),
        "learning_rate": learning_rate,
    }
