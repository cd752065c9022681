"""What is wrong with a sound."""

from __future__ import annotations


class AudioError(ValueError):
    """A file or buffer is no usable sound; the message says why, for the person who sent it.

    Attributes:
        code: The code of the AppError it becomes at the edge (this package knows no other of ours).
    """

    code = "input.invalid"


class AudioTooLargeError(AudioError):
    """More sound than is accepted."""

    code = "input.too_large"
