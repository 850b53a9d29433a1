# SPDX-License-Identifier: Apache-2.0
"""Exit codes, and which error ends with which."""

from __future__ import annotations

import enum

from nnrvideo.errors import (
    CarriageError,
    InferenceError,
    LimitExceededError,
    NnrVideoError,
    UnsupportedFeatureError,
)


class Exit(enum.IntEnum):
    """What the process tells its caller."""

    OK = 0
    BAD_INPUT = 1
    USAGE = 2
    NO_NETWORK = 3
    REJECTED = 4
    ENVIRONMENT = 5


EXIT_CODES_HELP = """\
exit codes:
  0  done                               3  the video carries no network
  1  an input is damaged or unusable    4  a network was found but rejected
  2  wrong usage (or output exists)     5  the environment lacks something
"""


class NoNetworkError(NnrVideoError):
    """The video carries no network, and the verb needs one."""


class UsageError(ValueError):
    """Options contradict each other, or an output exists already."""


def exit_code(error: BaseException) -> Exit:
    """Maps an error to the exit code of the process."""
    from nnrvideo.metrics import VmafError  # only failing takes the time to load it

    if isinstance(error, NoNetworkError):
        return Exit.NO_NETWORK
    if isinstance(error, (LimitExceededError, UnsupportedFeatureError)):
        return Exit.REJECTED
    if isinstance(error, (InferenceError, VmafError, ImportError)):
        return Exit.ENVIRONMENT
    if isinstance(error, (UsageError, CarriageError, FileExistsError)):
        return Exit.USAGE
    if isinstance(error, (NnrVideoError, FileNotFoundError, IsADirectoryError)):
        return Exit.BAD_INPUT
    if isinstance(error, OSError):
        return Exit.ENVIRONMENT
    return Exit.USAGE
