"""The one exception that stands for the user's mistake rather than for the program's."""


class InputError(ValueError):
    """A refused flag, config value, file, data folder or working directory.

    The message is one line that names the key or the file, what was found and what was expected;
    `nge_jax.main` prints it and exits with code 2. Every other exception keeps its traceback.
    """
