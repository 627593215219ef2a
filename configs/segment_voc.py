"""Fine-tune the network of a cell as DeepLabv3's backbone on PASCAL VOC 2012 (Li, Gong, Zhu, AAAI 2020).

  nge segment segment_voc              or: python -m nge_jax.main --config=configs/segment_voc.py
  nge segment segment_voc genotype=... init_from=runs/train_imagenet
  nge segment segment_voc:small        a small network, for a CPU

Words after the colon, joined by commas: `small`, for a backbone of train_imagenet.py:imagenette's size;
`smoke`, does it run?

`data.devkit=VOCdevkit` names the data the first time; it is prepared in TFDS's folder. SBD's
annotations are used where they are there: VOC2012/SegmentationClassAug and train_aug.txt, or
benchmark_RELEASE beside VOC2012 or VOCdevkit. A folder with a labels.txt beside JPEGImages has classes
of its own, named there line by line, and is read as it is (docs/data.md).

The paper names DeepLabv3 and the pre-training on ImageNet, no more: "DeepLab" marks what its paper or public code have.
It reports 75.96 % mIoU at 10.31 M parameters for its own cell, which it does not print; DARTS_V2 has 9.99 M.
Nobody has run it at full size to its end yet. That is meant for a GPU; three steps on a CPU core took 5 GB with
train.accumulate=8.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words

VARIANTS = (
    {
        # Own choice, no experiment of the paper: the backbone of train_imagenet.py:imagenette, for a few
        # hundred images. At DeepLab's rate it learns nothing beyond the background in 300 steps.
        "small": {
            "data.crop": 161,
            "network.cells": 6,
            "network.channels": 8,
            "network.width": 64,
            "network.rates": (2, 4, 6),  # crops of 161 have 11x11 features
            "train.steps": 750,
            "weights.learning_rate": 0.1,
            "run.checkpoint_every_steps": 100,
        },
    },
    {
        "smoke": {
            "data.crop": 97,
            "network.cells": 3,
            "network.channels": 4,
            "network.width": 16,
            "network.rates": (2, 4),
            "train.steps": 4,
            "train.batch_size": 4,
        },
    },
)


def get_config(words: str = "") -> ConfigDict:
    config = ConfigDict()
    config.task = "segment"
    config.seed = 0
    # A published cell by name, a genotype's JSON file (or the search's workdir), or random:SEED.
    config.genotype = "DARTS_V2"
    # Workdir of a training on ImageNet with the same cell, cells and channels. Empty: from random weights.
    config.init_from = ""

    config.data = ConfigDict()
    config.data.dir = ""  # tfds folder; empty: TFDS's own default, ~/tensorflow_datasets
    # VOCdevkit folder to prepare the data of, or one with classes of its own; empty: VOC's is prepared.
    config.data.devkit = ""
    config.data.crop = 513  # pixels of a side (DeepLab); a multiple of the output stride and 1
    config.data.test_size = 513  # whole images are padded to this; VOC's are at most 500 (DeepLab)

    config.network = ConfigDict()
    config.network.cells = 14  # as on ImageNet: the fifth and the tenth are reduction cells
    config.network.channels = 48
    config.network.dtype = "float32"  # of the computation; "bfloat16" for GPU and TPU
    config.network.output_stride = 16  # DeepLab; the tenth cell keeps its inputs' size. Or 8, 32
    # Dilations of the pyramid's 3x3 convolutions (DeepLab, at output stride 16; 8 wants them doubled).
    config.network.rates = (6, 12, 18)
    config.network.image_pooling = True  # the pyramid's branch of the image's mean (DeepLab)
    config.network.width = 256  # channels of each branch and of the projection (DeepLab)
    config.network.dropout = 0.1  # before the classifier (DeepLab's public code)

    config.train = ConfigDict()
    config.train.steps = 30_000  # DeepLab
    config.train.batch_size = 16  # over all devices (DeepLab)
    config.train.accumulate = 1  # micro-batches to a step, one after the other, for small memories
    # Batch statistics of the whole batch (or micro-batch), however many devices; else each device's own
    config.train.sync_batch_norm = False

    config.weights = ConfigDict()  # SGD
    config.weights.learning_rate = 0.007  # DeepLab
    config.weights.power = 0.9  # it falls as (1 - step / steps)^power (DeepLab)
    config.weights.momentum = 0.9
    config.weights.weight_decay = 4e-5  # DeepLab's for mobile networks
    config.weights.clip_norm = 5.0  # of the whole gradient's norm, as DARTS (DeepLab: none)

    # Nothing here changes a result, so a training may be resumed with other values.
    config.run = ConfigDict()
    config.run.steps_per_dispatch = 1
    config.run.checkpoint_every_steps = 500
    config.run.keep_checkpoints = 2
    # Updates that are not finite and may be left out, counted as skipped_updates; at one more the run stops.
    config.run.skip_nonfinite = 0
    config.run.eval_batch_size = 4  # of each device
    config.run.pictures = 4  # images of the validation split shown in the report

    return apply_words(config, words, VARIANTS, __file__)
