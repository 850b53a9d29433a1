# SPDX-License-Identifier: Apache-2.0
"""One shape rule for each operator that is accepted.

A rule takes a node, its inputs and the version of the operator set, and returns the outputs.
It raises :class:`ShapeError` where the operator does not accept such inputs.  Sizes are Python
integers throughout.
"""

from __future__ import annotations

from typing import Final

from nnrvideo.model import shape_arithmetic, shape_order, shape_quantised
from nnrvideo.model.shape_inputs import Rule

RULES: Final[dict[str, Rule]] = {
    **shape_arithmetic.RULES,
    **shape_order.RULES,
    **shape_quantised.RULES,
}
