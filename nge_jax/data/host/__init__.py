"""The host's work on images, in numpy: random numbers (`draws`), resizing (`resample`), threads (`ahead`)."""
