"""What can be wrong with a training run."""


class TrainingError(ValueError):
    """A run that cannot start or go on; the message says why."""


class CacheError(ValueError):
    """A cached file or training state that is not what it should be; the message names it."""
