"""PASCAL VOC 2012 with the annotations of SBD: images and masks, from the official archives' files.

Read `batches` first. `devkit` reads VOC's folders, `sbd` the additional masks, and the dataset builder makes record
files of both; `augment` scales, crops and flips an image with its mask.
"""
