"""The keys of a training alone, a row each in the paper's order."""

from nge_jax.errors import InputError
from nge_jax.settings.key import (
    COUNT,
    FLOAT,
    FRACTION,
    PHOTOGRAPHS,
    RATE,
    SMALL,
    USER,
    Key,
    Limits,
    Values,
)

HUE = 0.5  # the largest strength of data.jitter's last number, in turns

# fmt: off
KEYS = (
    Key("data.alternate_flip", False, None, "K. Jordan, 94% on CIFAR-10 in 3.29 seconds (2024)",
        "Mirrors each image in one of two epochs, which one being random. Else images to mirror are drawn anew.",
        kinds=(SMALL,), since="0.2"),
    Key("data.cutout", 16, Limits(int, 0, 4096), "paper Sec. 4.2",
        "Side, in pixels, of the square that is cut out. 0: none.", kinds=(SMALL, USER)),
    Key("data.trivial_augment", False, None, "Müller and Hutter, TrivialAugment, ICCV 2021; the paper has none",
        "Changes each image by one random operation at a random strength, behind crop and flip: by a move, a turn, a "
        "shear, or a change of the colors.", since="0.3"),
    Key("data.jitter", (0.4, 0.4, 0.4, 0.2), Limits(float, 0, FLOAT, length=(4, 4)), "paper silent, DARTS values",
        "Strengths of brightness, contrast, saturation and hue.", kinds=(PHOTOGRAPHS, USER)),
    Key("data.validation", 0, Limits(int, 0, COUNT), "the paper has none",
        "Training images that are held out to choose the best checkpoint after each epoch. 0: none; the last network "
        "counts, and there is no best one."),

    Key("train.epochs", 600, Limits(int, 1, 1_000_000), "paper Sec. 4.2",
        "Epochs.", by_data="about 3,000 updates, 10 to 200 epochs", in_program=False),
    Key("train.images_per_epoch", 0, Limits(int, 0, COUNT), "", "Images of an epoch. 0: all of them.",
        in_program=False),
    Key("train.drop_path", 0.3, FRACTION, "paper Sec. 4.2; DARTS: 0.2",
        "Rate at the end at which paths are dropped; it grows along a line from 0.", in_program=False),
    Key("train.auxiliary_weight", 0.4, RATE, "paper Sec. 4.2",
        "Weight of the auxiliary head's loss. The head needs images of 32 pixels a side, or of 224 (large stem)."),
    Key("train.label_smoothing", 0.0, FRACTION, "the paper has it on ImageNet only", "Label smoothing."),
    Key("train.class_weights", "none", ("none", "balanced"), "",
        '"balanced": each class counts the same, however few images it has. "none": each image counts the same.',
        since="0.2"),
    Key("train.mixup", 0.0, Limits(float, 0, 100), "Zhang et al., ICLR 2018, 0.2 to 1; the paper has none",
        "Blends each image and its label with another of the batch, by a share drawn from Beta(a, a) with this a. "
        "0: no blend.", since="0.3"),
    Key("train.cutmix", 0.0, Limits(float, 0, 100), "Yun et al., CutMix, ICCV 2019, 1; the paper has none",
        "Replaces a box of each image by that of another of the batch; the labels share by area, which is drawn from "
        "Beta(a, a) with this a. With train.mixup each image has one of the two. 0: no box.", since="0.3"),
    Key("train.patience", 0, Limits(int, 0, 1_000_000), "the paper has none",
        "Epochs without a better accuracy on held-out images after which the training ends. 0: it ends with the last "
        "epoch. Needs data.validation, or a folder with images to validate.", since="0.3", in_program=False),
    Key("train.warmup_epochs", 0, Limits(int, 0, 1_000_000), "",
        "Epochs in which the learning rate grows along a line from 0.", in_program=False),
    Key("train.decay", "cosine", ("cosine", "linear"), "paper Sec. 4.2",
        "The curve along which the learning rate falls to 0, step by step."),
)  # fmt: on


def check_hue(values: Values) -> None:
    """Refuses a jitter of hue beyond half a turn, at which every hue is reached.

    Raises:
      InputError: names the key.
    """
    hue = values.get("data.jitter", (0,))[-1]
    if hue > HUE:
        raise InputError(
            f"config.data.jitter: found {hue} as the strength of hue, expected at most {HUE} turns"
        )
