"""The exceptions that grokfast raises on purpose.

Each message says what was expected, what came, and what to do about it. The command line prints them
without a traceback.
"""


class GrokfastError(Exception):
    """Base of every exception that grokfast raises on purpose."""


class InputError(GrokfastError, ValueError):
    """An argument has the wrong value, shape or type."""


class OptionError(InputError, TypeError):
    """A function has no option of that name, or lacks one that it needs."""


class ConfigError(InputError):
    """A configuration has an unknown key or a value out of range."""


class MissingTaskError(ConfigError):
    """A task is not registered, or the module that defines it cannot be imported here."""


class StoreError(GrokfastError, OSError):
    """A folder of runs cannot be read or written, or a run in it is damaged."""


class ChangedError(StoreError):
    """A run was published again by someone else while it was in hand."""


class MissingRunsError(GrokfastError, LookupError):
    """A figure or report needs runs that the store does not hold."""


class NativeError(GrokfastError, ImportError):
    """The compiled extension is required but absent, or refuses its input."""


class SweepError(GrokfastError, RuntimeError):
    """A sweep could not be started or carried on; what was trained is kept."""
