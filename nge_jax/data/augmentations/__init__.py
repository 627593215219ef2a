"""Augmentations that a config turns on beside crop, flip and cutout: TrivialAugment, mixup and CutMix."""
