"""The parts of a search that a config names: the numbers, the makers of parts from outside, and checks of these."""
