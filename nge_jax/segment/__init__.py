"""Semantic segmentation of PASCAL VOC 2012: DeepLabv3 with a trained cell's backbone (paper Table 3).

Read `step` first: one update. `miou` has the metric. `build` makes the plan from a config, and `runner` runs a training
and its test. `predict`, `pictures` and `report` show the result.
"""

from etils import epy as _epy

__all__ = ["SegmentationResult", "run", "summary"]

with _epy.lazy_api_imports(globals()):
    from nge_jax.segment.runner import SegmentationResult as SegmentationResult
    from nge_jax.segment.runner import run as run
    from nge_jax.segment.runner import summary as summary
