"""The keys of a segmentation alone, a row each."""

from nge_jax.settings.key import COUNT, FRACTION, Key, Limits

DEEPLAB = "DeepLab"

# fmt: off
KEYS = (
    Key("data.devkit", "", None, "",
        "VOCdevkit folder of which the data are prepared, or one with classes of its own. Empty: VOC is prepared.",
        changes_result=False),
    Key("data.crop", 513, Limits(int, 1, 4097), DEEPLAB,
        "Pixels of a side of the crops: a multiple of the output stride, and 1."),
    Key("data.test_size", 513, Limits(int, 1, 8193), DEEPLAB,
        "Pixels of a side to which whole images are padded in the test; VOC's images are at most 500."),

    Key("network.output_stride", 16, (8, 16, 32), DEEPLAB,
        "Pixels of the image for one of the features. At 16 the tenth of 14 cells keeps the size of its inputs."),
    Key("network.rates", (6, 12, 18), Limits(int, 1, 1024, length=(1, 16)), "DeepLab, at output stride 16",
        "Dilations of the pyramid's 3x3 convolutions; output stride 8 wants them doubled."),
    Key("network.image_pooling", True, None, DEEPLAB, "Gives the pyramid a branch of the image's mean."),
    Key("network.width", 256, Limits(int, 1, 8192), DEEPLAB, "Channels of each branch and of the projection."),
    Key("network.dropout", 0.1, FRACTION, "DeepLab's public code", "Dropout before the classifier."),

    Key("train.steps", 30_000, Limits(int, 1, COUNT), DEEPLAB, "Training steps.", in_program=False),
    Key("weights.power", 0.9, Limits(float, 0, 100), DEEPLAB,
        "The learning rate falls as (1 - step / steps)^power."),

    Key("run.pictures", 4, Limits(int, 0, 1000), "", "Images of the validation split that the report shows.",
        changes_result=False),
)  # fmt: on
