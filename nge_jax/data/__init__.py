"""Data sets as batches on devices, in an order that resumes exactly.

Small images live on the device (`small`, `augment`); ImageNet and VOC stream from the host (`photographs`,
`voc_segmentation`). Read `source` first: it gives a training the batches of either kind. `order` draws the order of an
epoch. `spec` is the part of the data that a trained network's workdir keeps. `prepare` downloads data sets.
"""
