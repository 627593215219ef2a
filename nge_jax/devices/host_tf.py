"""TensorFlow as a library of the host: reads TFDS's data sets and writes SavedModels.

TensorFlow takes seconds to import and would claim an accelerator's memory, so nothing imports it at module level.
"""

import os
from types import ModuleType


def tensorflow() -> ModuleType:
    """Imports `tensorflow`, quiet and kept away from GPUs and TPUs, which belong to JAX."""
    # jax sets 1, by which TensorFlow tells of each file that cannot be read by a traceback of its own.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    # Announced on stderr at every import when on; decoding images gains nothing from it.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)
    return tf
