"""The one exception whose message is written for the person at the keyboard."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Something in the data, the configuration or the environment that the user can mend.

    The message is one sentence: what was found (with numbers), what was expected, and which config key or
    command mends it. The command-line tools print it alone, without a traceback, and exit with status 2.

    A data loader's worker re-raises an exception with the worker's whole traceback as its message; the sentence is
    taken back out of it, so that a corrupt image reads the same with and without workers.
    """

    def __init__(self, message: str) -> None:
        if message.startswith("Caught "):
            message = message.rstrip().rsplit("InputError: ", 1)[-1]
        super().__init__(message)
