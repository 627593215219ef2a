"""Cells rated without a training here: by a CSV of trained cells, or by a surrogate."""
