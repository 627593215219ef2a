"""Runs `python -m nge_jax.predict`."""

from nge_jax.predict.command import main
from nge_jax.settings import flags

if __name__ == "__main__":
    with flags.refusals():
        main()
