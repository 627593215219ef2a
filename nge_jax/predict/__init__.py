"""Images classified or segmented by a trained network. `command` is `nge predict`."""
