"""What the user got wrong: errors that are reported in one line and end with exit code 2."""


class InputError(ValueError):
    """A mistake in what the user gave: a job file, an operand, an option, a rank count.

    The message says where (file, key or rank), what was found and what was expected.
    """


class LostError(RuntimeError):
    """A result is lost: no worker is left that could compute what is missing."""
