"""Semantic segmentation of PASCAL VOC 2012: DeepLabv3 with a trained cell's backbone (paper Table 3).

Read `step` first: one update. `miou` is the measure; `build` makes the parts that a config describes, `runner` runs
a training and its evaluation, `predict`, `pictures` and `report` show the result.
"""
