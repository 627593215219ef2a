"""The keys that several tasks have, a row each."""

from nge_jax.settings.key import (
    COUNT,
    FLOAT,
    FRACTION,
    PART,
    PHOTOGRAPHS,
    RATE,
    SEED,
    SMALL,
    TASKS,
    USER,
    Key,
    Limits,
)

IMAGES, NETWORKS = ("search", "train"), ("train", "segment")  # tasks
PAPER = {"search": "paper Sec. 4.1", "train": "paper Sec. 4.2", "segment": "DeepLab"}
DARTS = {
    "search": "paper silent, DARTS value",
    "train": "DARTS",
    "segment": "as DARTS; DeepLab: none",
}
SMALL_AND_USER, LARGE_AND_USER = (SMALL, USER), (PHOTOGRAPHS, USER)  # kinds of data
CHANNELS = "Channels of the first cells' operations."
MOMENTUM = "Momentum; b1 of adamw, whose b2 is 0.999."
DECAY, ADAMW_DECAY = (
    "Weight decay, as a part of the gradient",
    "with adamw as a part of the step, times the rate.",
)
LIMITED = {
    "search": "of the network that search.train_config trains. The cell found is the strongest within the limit. With "
    "the evaluator trained the limit also holds for the search's network.",
    "train": "of the network, without the auxiliary head. A network beyond the limit is refused.",
}

# fmt: off
KEYS = (
    Key("task", {task: task for task in TASKS}, TASKS, "", "The kind of run.", tasks=TASKS),
    Key("genotype", "DARTS_V2", None, "",
        "The cell: a published name, a genotype's JSON file, a search's workdir, or random:SEED.",
        tasks=NETWORKS, label="Genotype"),
    Key("init_from", "", None, "",
        {"train": "Workdir of a training with the same cell, cells and channels, whose weights begin this one: all of "
                  "them if the classes are the same, else the backbone's. Empty: random weights.",
         "segment": "Workdir of a training on ImageNet with the same cell, cells and channels. Empty: random weights."},
        tasks=NETWORKS, since={"train": "0.2", "segment": "0.1"}, in_program=False),
    Key("seed", 0, SEED, "", "The seed of all random numbers.", tasks=TASKS, in_program=False, label="Seed"),

    Key("data.name", "cifar10", None, PAPER,
        {"search": "The data set: cifar10, cifar100 or digits; search_folder takes folder:DIR, npz:FILE and the "
                   "classification sets of TFDS.",
         "train": "The data set: cifar10, cifar100 or digits; train_imagenet takes the classification sets of TFDS and "
                  "folder:DIR, train_folder also npz:FILE."},
        tasks=IMAGES, label="Data set"),
    Key("data.dir", "", None, "", "TFDS's folder. Empty: TFDS's own default, ~/tensorflow_datasets.",
        tasks=TASKS, changes_result=False),
    Key("data.pad", 4, Limits(int, 0, 4096), DARTS,
        "Pixels of zero padding around an image before the random crop.",
        tasks=IMAGES, kinds=SMALL_AND_USER, read_by=("supernet",)),
    Key("data.flip", True, None, DARTS, "Mirrors half of the images.", tasks=IMAGES, read_by=("supernet",)),
    Key("data.image_size", 0,
        {"search": Limits(int, 0, 4096, multiple=16), "train": Limits(int, 32, 4096, multiple=32)}, "",
        {"search": "Pixels of a side of the largest square in an image's middle, once it is resized. 16 halves CIFAR's "
                   "images (each pixel is the mean of 2x2 pixels, rounded); 0 leaves them as they are.",
         "train": "Pixels of a side of the crops, or of resized images."},
        tasks=IMAGES, kinds={"search": SMALL_AND_USER, "train": LARGE_AND_USER},
        by_data="the images' own size up to 64, else 128", since={"search": "0.2", "train": "0.1"}),
    Key("data.image_size", 0, (0, 16, 32), "",
        "Pixels of a side. 16 halves CIFAR's images (each pixel is the mean of 2x2 pixels, rounded); 0 leaves them as "
        "they are.", tasks=("train",), kinds=(SMALL,), since="0.2"),
    Key("data.channels", 0, (1, 3), "",
        {"search": "Channels as which the images are read: 1 for gray, or 3.",
         "train": "Channels as which the images are read: 1 for gray, or 3. ImageNet's first layers take 3."},
        tasks=IMAGES, kinds=(USER,), by_data="1 if every image is gray, else 3", since="0.3"),
    Key("data.mean", (), Limits(float, 0, 1, length=(0, 3)), "",
        "Mean of each channel, for pixels in 0..1. (): the mean of the training images.",
        tasks=IMAGES, kinds=(USER,), since="0.2"),
    Key("data.std", (), Limits(float, 1e-6, 1, length=(0, 3)), "",
        "Standard deviation of each channel, for pixels in 0..1. (): the deviation of the training images.",
        tasks=IMAGES, kinds=(USER,), since="0.2"),
    Key("data.test_fraction", 0.2, PART, "",
        "Part of each class that is held out for the test, in a folder without val and test.",
        tasks=IMAGES, kinds=LARGE_AND_USER, since="0.2"),
    Key("data.split_seed", 0, SEED, "",
        "The seed that draws the held-out part. With the same seed a search never sees the images that its cell is "
        "tested on.",
        tasks=IMAGES, kinds=LARGE_AND_USER, since="0.2"),
    Key("data.skip_damaged", False, None, "",
        "Decodes every image once before the run and leaves out the damaged ones. Else a damaged image ends the run.",
        tasks=IMAGES, kinds=LARGE_AND_USER, since="0.2"),
    Key("data.device_budget_gb", 2.0, Limits(float, 0, 1e6), "",
        "Gigabytes of a device's memory for the resized images. Beyond that they stay on the host.",
        tasks=IMAGES, kinds=(USER,), since="0.2"),

    Key("network.channels", {"search": 16, "train": 36, "segment": 48},
        {"search": Limits(int, 2, 4096, multiple=2), "train": Limits(int, 0, 4096),
         "segment": Limits(int, 2, 4096)},  # the stem begins with half of them
        PAPER | {"segment": "as on ImageNet"},
        {"search": CHANNELS, "train": f"{CHANNELS} 0: the most that the limits allow.", "segment": CHANNELS},
        tasks=TASKS),
    Key("network.cells", {"search": 8, "train": 20, "segment": 14}, Limits(int, 1, 200),
        PAPER | {"segment": "as on ImageNet"},
        "Number of cells. Two are reduction cells, behind a third and two thirds of the others.", tasks=TASKS),
    Key("network.dtype", "float32", ("float32", "bfloat16"), "",
        'Number type of the computation; "bfloat16" is for GPUs and TPUs.', tasks=TASKS),
    Key("network.stem", "auto", ("auto", "small", "large"), "",
        'First layers of the network. "small" is CIFAR\'s; "large" is ImageNet\'s, which makes an eighth of the size; '
        '"auto" takes large from 96 pixels on.',
        tasks=IMAGES, kinds=(USER,), since="0.2"),

    Key("limits.parameters", 0, Limits(int, 0, COUNT), "",
        {task: f"The most parameters {network} 0: no limit." for task, network in LIMITED.items()},
        tasks=IMAGES, spaces=("darts",), since="0.3", in_program=False),
    Key("limits.multiply_adds", 0, Limits(int, 0, 10**15), "",
        {task: f"The most multiply-adds for an image, {network} 0: no limit." for task, network in LIMITED.items()},
        tasks=IMAGES, spaces=("darts",), since="0.3", in_program=False),

    Key("train.batch_size", {"train": 128, "segment": 16}, Limits(int, 1, 1_048_576),
        {"train": "paper Sec. 4.2; DARTS: 96", "segment": "DeepLab"},
        "Images of a step, over all devices of all processes.",
        tasks=NETWORKS, by_data="at most 64, a fourth of the images or less"),
    Key("train.accumulate", 1, Limits(int, 1, 65_536), "",
        "Micro-batches of a step, one after the other, for small memories.", tasks=NETWORKS),
    Key("train.sync_batch_norm", False, None, "",
        "Takes batch statistics of the whole batch or micro-batch. Else each device has its own.", tasks=NETWORKS),

    Key("weights.learning_rate", {"search": 0.025, "train": 0.25, "segment": 0.007}, RATE,
        PAPER | {"train": "paper Sec. 4.2; every sibling code has 0.025, so that the paper's may be a misprint"},
        {"search": "Learning rate of the first step; it falls along a cosine to 0.",
         "train": "Largest learning rate.",
         "segment": "Learning rate of the first step."},
        tasks=TASKS, in_program=False, read_by=("supernet",)),
    Key("weights.optimizer", "sgd", ("sgd", "adamw"), PAPER,
        "sgd: SGD with momentum. adamw: AdamW, which wants a rate near 0.001 and a weight decay near 0.05.",
        tasks=NETWORKS, since="0.3"),
    Key("weights.momentum", 0.9, FRACTION, PAPER,
        {"search": "Momentum.", "train": MOMENTUM, "segment": MOMENTUM}, tasks=TASKS, in_program=False,
        read_by=("supernet",)),
    Key("weights.weight_decay", {"search": 3e-4, "train": 3e-4, "segment": 4e-5}, RATE,
        PAPER | {"train": "paper Sec. 4.2; 5e-4 on CIFAR-100", "segment": "DeepLab's for mobile networks"},
        {"search": f"{DECAY}.", "train": f"{DECAY}; {ADAMW_DECAY}", "segment": f"{DECAY}; {ADAMW_DECAY}"},
        tasks=TASKS, in_program=False, read_by=("supernet",)),
    Key("weights.clip_norm", 5.0, Limits(float, 0, FLOAT, above=True), DARTS,
        "Largest norm of the whole gradient.", tasks=TASKS, in_program=False, read_by=("supernet",)),
    Key("weights.ema", 0.0, FRACTION, "the paper has none; EfficientNet (Tan and Le, ICML 2019): 0.9999",
        "Tests and keeps the moving averages of weights and batch statistics in place of the last ones. This is the "
        "averages' largest decay, such as 0.999; in step n it is (1 + n) / (10 + n) at most. 0: no averages.",
        tasks=NETWORKS, since="0.3", in_program=False),

    Key("run.steps_per_dispatch", {"search": 20, "train": 30, "segment": 1}, Limits(int, 1, COUNT), "",
        "Training steps that are compiled into one call.", tasks=TASKS, changes_result=False),
    Key("run.checkpoint_every_steps", {"search": 100, "train": 390, "segment": 500}, Limits(int, 1, COUNT), "",
        "Steps between two checkpoints; a search counts the steps of both phases.", tasks=TASKS, changes_result=False),
    Key("run.keep_checkpoints", 2, Limits(int, 1, 100_000), "",
        "Checkpoints that are kept.", tasks=TASKS, changes_result=False),
    Key("run.callbacks", (), None, "",
        "Callbacks of one's own, module:attribute. They see each epoch and may ask the run to stop.",
        tasks=TASKS, since="0.3", changes_result=False, outside="callback"),
    Key("run.skip_nonfinite", 0, Limits(int, 0, COUNT), "",
        "Updates that are not finite and may be left out, counted as skipped_updates. One more stops the run.",
        tasks=TASKS, since="0.2", changes_result=False, read_by=("supernet",)),
    Key("run.eval_batch_size", {"train": 250, "segment": 4}, Limits(int, 1, 65_536), "",
        "Images of a batch of each device, in the final test.", tasks=NETWORKS, changes_result=False),
)  # fmt: on
