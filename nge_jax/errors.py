"""Errors for what a user did wrong: the commands show these in one line and end with exit code 2."""


class InputError(ValueError):
    """Refuses a flag, config value, file, data folder or working directory.

    The message is one line that names the key or the file, what was found and what was expected;
    `nge_jax.main` prints it and exits with code 2. Every other exception keeps its traceback.
    """


class GenotypeError(InputError):
    """Refuses a genotype; the message names the offending field."""
