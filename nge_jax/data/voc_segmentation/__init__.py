"""PASCAL VOC 2012 with the annotations of SBD: images and masks, from the official archives' files.

Read `batches` first. `devkit` lists VOC's folders, `sbd` the additional masks, `masks` reads them, and the dataset
builder makes record files of both; a folder with `class_names` of its own is read by `own`. `augment` scales, crops and
flips an image with its mask.
"""
