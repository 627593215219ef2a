"""Data sets as batches on devices, in an order that resumes exactly.

Small images live on the device (`small`, `augment`); ImageNet and VOC stream from the host (`photographs`,
`voc_segmentation`). Read `source` first: what a training sees of either. `order` is each epoch's order, `draws` an
image's random numbers, `ahead` the threads that read. `spec` is what a trained network's workdir keeps of its data,
`prepare` finds what TFDS has on disk. `augmentations` has what a config turns on.
"""
