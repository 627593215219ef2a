"""Imports TensorFlow as a library of the host: it reads the data sets of TFDS and writes SavedModels.

TensorFlow takes seconds to import and would claim an accelerator's memory, so nothing imports it at module level.
"""

import os
from types import ModuleType


def tensorflow() -> ModuleType:
    """Imports `tensorflow` without its messages, and hides GPUs and TPUs from it, which belong to JAX."""
    # jax sets 1. With 1, TensorFlow prints a traceback for each file that it cannot read.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # oneDNN prints a line on stderr at every import, and decoding images is not faster with it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)
    return tf
