"""Cells that no smaller or equal cell beats: of a strategy's `history`, and of `several` searches."""
