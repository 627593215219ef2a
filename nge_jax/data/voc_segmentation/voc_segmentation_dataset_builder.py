"""PASCAL VOC 2012's segmentation task as a TFDS data set, made of a VOCdevkit folder.

  tfds build nge_jax/data/voc_segmentation --manual_dir=VOCdevkit --data_dir=DIR

Splits are those that the folder has: train (1,464 images in the whole data set), train_aug (10,582) and
val (1,449).
"""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from nge_jax.data.photographs import pixels
from nge_jax.data.voc_segmentation import devkit, masks


class Builder(tfds.core.GeneratorBasedBuilder):
    """Images [H, W, 3] and masks [H, W, 1] of class numbers, 255 where there is no label."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    manual_dir must be a VOCdevkit folder: VOCtrainval_11-May-2012.tar of
    http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, and for train_aug either SBD beside it
    (benchmark.tgz, unpacked to benchmark_RELEASE/), or SegmentationClassAug/ and
    ImageSets/Segmentation/train_aug.txt in its VOC2012/."""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Semantic segmentation of PASCAL VOC 2012, with SBD's extra annotations.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "mask": tfds.features.LabeledImage(
                        labels=list(devkit.CLASSES), shape=(None, None, 1), encoding_format="png"
                    ),
                }
            ),
            supervised_keys=("image", "mask"),
            homepage="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        splits = devkit.examples(devkit.find(str(dl_manager.manual_dir)))
        return {split: self._generate_examples(examples) for split, examples in splits.items()}

    def _generate_examples(
        self, examples: list[devkit.DevkitExample]
    ) -> Iterator[tuple[str, dict]]:
        for example in examples:
            mask = masks.read(example)[..., None]
            yield example.id, {"id": example.id, "image": _image(example.image), "mask": mask}


def _image(path):
    """Returns a JPEG's path, whose bytes are then kept; what is stored turned, or is no JPEG, is decoded, upright."""
    data = pixels.read_bytes(path)
    if data.startswith(pixels.JPEG) and pixels.stored(data)[2] == pixels.UPRIGHT:
        return path
    return pixels.decode(data)
