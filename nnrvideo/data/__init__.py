# SPDX-License-Identifier: Apache-2.0
"""Networks that ship with the package."""

from nnrvideo.data.networks import (
    BASE_NETWORK,
    NETWORK_NAMES,
    base_network,
    model_card,
    model_card_json,
    network_file,
    read_network,
)

__all__ = [
    "BASE_NETWORK",
    "NETWORK_NAMES",
    "base_network",
    "model_card",
    "model_card_json",
    "network_file",
    "read_network",
]
