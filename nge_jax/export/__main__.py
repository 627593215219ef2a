"""Runs `python -m nge_jax.export`."""

from nge_jax.export.command import main
from nge_jax.settings import flags

if __name__ == "__main__":
    with flags.refusals():
        main()
