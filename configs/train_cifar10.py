"""Train the network of a cell on CIFAR-10 from scratch (Li, Gong, Zhu, AAAI 2020, Sec. 4.2).

  python -m nge_jax.main --config=configs/train_cifar10.py
  python -m nge_jax.main --config=configs/train_cifar10.py --config.genotype=runs/search_cifar/genotype.json
  python -m nge_jax.main --config=configs/train_cifar10.py:lr0.025       the learning rate of the sibling codes
  python -m nge_jax.main --config=configs/train_cifar10.py:small         scaled down, for a CPU
  python -m nge_jax.main --config=configs/train_cifar10.py:lr0.025,smoke

Words after the colon, joined by commas: `lr0.025`; one size of `small` and `tiny`, scaled-down recipes by which cells
are compared on a CPU, and `smoke`, two short epochs that show that it runs (the paper's when none is given).

The setting is that of DARTS (Liu et al., ICLR 2019), which the paper follows; "paper" marks where it departs.

The paper reports 2.60 % test error at 3.5 M parameters for its own cell, which it does not print.
Nobody has run it at full size to its end yet. It is meant for a GPU: two CPU cores would need more than a month.
"""

from ml_collections import ConfigDict

SIZES = ("small", "tiny", "smoke")
WORDS = ("lr0.025", *SIZES)


def get_config(arg: str = "") -> ConfigDict:
    words = arg.split(",") if arg else []
    for word in words:
        if word not in WORDS:
            raise ValueError(
                f"train_cifar10.py: unknown variant {word!r}, expected some of {', '.join(WORDS)}"
            )
    if len(set(words).intersection(SIZES)) > 1:
        raise ValueError(f"train_cifar10.py: {arg!r} names two of {', '.join(SIZES)}")

    config = ConfigDict()
    config.task = "train"
    config.seed = 0
    # A published cell by name, a genotype's JSON file (or the search's workdir), or random:SEED.
    config.genotype = "DARTS_V2"

    config.data = ConfigDict()
    config.data.name = "cifar10"
    config.data.dir = ""  # tfds folder; empty: TFDS's own default, ~/tensorflow_datasets
    config.data.pad = 4  # zero padding, then a random crop of 32x32
    config.data.flip = True  # half of the images
    config.data.cutout = 16  # side of the square, in pixels
    # Training images set aside to choose the best checkpoint by, after each epoch. 0: none, as in the paper; the last
    # network counts, and there is no best one.
    config.data.validation = 0

    config.network = ConfigDict()
    config.network.cells = 20  # the seventh and the fourteenth are reduction cells
    config.network.channels = 36  # of the first cells' operations
    config.network.dtype = "float32"  # of the computation; "bfloat16" for GPU and TPU

    config.train = ConfigDict()
    config.train.epochs = 600
    config.train.batch_size = 128  # over all devices (paper; DARTS 96)
    config.train.images_per_epoch = 0  # 0: all 50,000
    config.train.drop_path = 0.3  # at the end, linearly from 0 (paper; DARTS 0.2)
    config.train.auxiliary_weight = 0.4  # of the auxiliary head's loss
    config.train.label_smoothing = 0.0  # used on ImageNet only
    config.train.warmup_epochs = 0  # in which the learning rate grows linearly from 0
    config.train.decay = "cosine"  # after them, step by step to 0 (paper); or "linear"
    config.train.accumulate = 1  # micro-batches to a step, one after the other, for small memories
    # Batch statistics of the whole batch (or micro-batch), however many devices; else each device's own
    config.train.sync_batch_norm = False

    # SGD
    config.weights = ConfigDict()
    # As the paper prints it. Every sibling code (DARTS, PC-DARTS, P-DARTS) has 0.025, so that the paper's may be a
    # misprint; `:lr0.025` takes theirs.
    config.weights.learning_rate = 0.25
    config.weights.momentum = 0.9
    config.weights.weight_decay = 3e-4
    config.weights.clip_norm = 5.0  # of the whole gradient's norm

    # Nothing here changes a result, so a training may be resumed with other values.
    config.run = ConfigDict()
    config.run.steps_per_dispatch = 30  # training steps compiled into one call
    config.run.checkpoint_every_steps = 390  # an epoch
    config.run.keep_checkpoints = 2
    config.run.eval_batch_size = 250  # of each device, in the final test

    if "small" in words or "tiny" in words:
        # Some ten minutes on a CPU core; no experiment of the paper. Every image is seen about
        # once: nothing that keeps a network from learning them by heart.
        config.data.pad = 0
        config.data.cutout = 0
        config.network.cells = 5
        config.network.channels = 16
        config.train.epochs = 6
        config.train.batch_size = 32
        config.train.images_per_epoch = 10_000  # others in every epoch
        config.train.drop_path = 0.0
        config.train.auxiliary_weight = 0.0
        config.weights.learning_rate = 0.025
        config.run.steps_per_dispatch = 20
        config.run.checkpoint_every_steps = 300
    if "tiny" in words:  # three to four of those minutes
        config.network.channels = 8
        config.train.epochs = 4
    if "lr0.025" in words:
        config.weights.learning_rate = 0.025
    if "smoke" in words:  # does it run? A minute on two CPU cores, most of it compilation
        config.network.cells = 3
        config.network.channels = 4
        config.train.epochs = 2
        config.train.batch_size = 32
        config.train.images_per_epoch = 256
        config.run.steps_per_dispatch = 4
    return config
