"""Data sets as batches on devices, in an order that resumes exactly.

Small images live on the device (`small`, `augment`); ImageNet and VOC stream from the host (`imagenet`,
`voc_segmentation`). Read `source` first: what a training sees of either. `order` is each epoch's order, `spec` what
a trained network's workdir keeps of its data, `prepare` and `record_index` what is on disk.
"""
