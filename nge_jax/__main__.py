"""`python -m nge_jax` is the command `nge`."""

from nge_jax.cli import run

if __name__ == "__main__":
    run()
