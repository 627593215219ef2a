"""The records of a test beside its numbers: mistakes with their images."""
