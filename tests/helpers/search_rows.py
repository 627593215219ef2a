"""An epoch's row with the longest values, and the relaxations that add some."""

from nge_jax.search.steps import relaxation

LINE = relaxation.Line(10.0, 0.1, 50, 100)
RELAXATIONS = {
    "softmax": relaxation.softmax(None),
    "gumbel": relaxation.gumbel(None, LINE),
    "partial": relaxation.partial(None),
}
# A long search on a fast device: each value as long as it becomes.
ROW = {
    "epoch": 1000,
    "weight_loss": 6.90775,
    "weight_accuracy": 1.0,
    "embedding_loss": 6.90775,
    "embedding_accuracy": 1.0,
    "entropy_normal": 1.945910,
    "entropy_reduction": 1.945910,
    "skip_connect_normal": 8,
    "skip_connect_reduction": 8,
    "images_per_second": 123_456.78,
    "seconds": 9999.9,
    "best_reward": 1.0,
    "temperature": 10.0,
    "skip_dropout": 1.0,
}
