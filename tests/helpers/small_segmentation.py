"""A training of a segmentation network that takes seconds, on the devkit of `write_devkit`."""

from nge_jax.space import genotype
from tests.helpers.small_training import SMALL, make_config


def small_config(folder, **changes):
    config = make_config("segment_voc", "smoke")
    (folder / "cell.json").write_text(genotype.to_json(SMALL))
    config.genotype = str(folder / "cell.json")
    config.data.devkit = str(folder / "VOCdevkit")
    config.data.dir = str(folder / "tfds")
    config.data.crop, config.data.test_size = 33, 49
    config.network.cells, config.network.width, config.network.rates = 2, 4, (1, 2)
    config.train.steps, config.train.batch_size = 7, 2  # 7 images: 3 steps an epoch
    config.run.steps_per_dispatch, config.run.checkpoint_every_steps = 2, 4
    config.run.eval_batch_size = 2
    config.update_from_flattened_dict(changes)
    return config
