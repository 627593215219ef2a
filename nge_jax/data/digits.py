"""The data set that needs no download: scikit-learn's 1,797 real handwritten digits, 8x8 grey.

scikit-learn ships them without a split. Of each digit every fifth image, in the order of the file, is held out for
testing: 1,442 training and 355 test images. The same 13 writers wrote both, so this measures new images, not new hands.
"""

import numpy as np

NUM_CLASSES = 10
# Mean and standard deviation of the training images' pixels in 0..1.
MEAN, STD = (0.3052,), (0.3760,)


def load() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """((training images, labels), (test images, labels)): uint8 [N, 8, 8, 1] and int32 [N]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int32)
    held_out = np.zeros(len(labels), bool)
    for digit in range(NUM_CLASSES):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])
