# SPDX-License-Identifier: Apache-2.0
"""Patch plans: covering, sizes the stream allows, and bounds on memory and work."""

import pytest

from nnrvideo.errors import LimitExceededError
from nnrvideo.runtime.tiling import PatchRules, plan_tiles


def test_free_size_covers_the_picture_with_one_patch():
    plan = plan_tiles(PatchRules(0, False, 1, 1), 640, 360)
    assert (plan.patch_width, plan.patch_height, plan.count) == (640, 360, 1)


def test_free_size_is_a_multiple_of_the_divisor_including_overlap():
    rules = PatchRules(overlap=10, constant=False, width=32, height=24)
    plan = plan_tiles(rules, 640, 360)
    assert plan.count == 1
    assert plan.input_width % 32 == 0
    assert plan.input_height % 24 == 0
    assert 640 <= plan.patch_width < 640 + 32
    assert 360 <= plan.patch_height < 360 + 24


def test_constant_size_tiles_in_raster_order_and_may_exceed_the_picture():
    plan = plan_tiles(PatchRules(2, True, 64, 64), 150, 70)
    assert list(plan.origins()) == [(0, 0), (64, 0), (128, 0), (0, 64), (64, 64), (128, 64)]
    assert (plan.input_width, plan.input_height) == (68, 68)


@pytest.mark.parametrize("divisor", [1, 8, 31])
def test_memory_bound_makes_bands_of_full_width(divisor):
    rules = PatchRules(overlap=4, constant=False, width=divisor + 8, height=divisor + 8)
    plan = plan_tiles(rules, 640, 360, bytes_per_position=100, max_bytes=100 * 700 * 64)
    assert plan.columns == 1
    assert plan.rows > 1
    assert plan.input_width * plan.input_height <= 700 * 64
    assert plan.rows * plan.patch_height >= 360


def test_memory_bound_cuts_bands_as_well_when_it_must():
    rules = PatchRules(overlap=4, constant=False, width=9, height=9)
    plan = plan_tiles(rules, 640, 360, bytes_per_position=10, max_bytes=10 * 81 * 4)
    assert plan.columns > 1
    assert plan.input_width * plan.input_height <= 81 * 4


def test_bound_that_no_patch_can_keep():
    with pytest.raises(LimitExceededError) as caught:
        plan_tiles(PatchRules(4, True, 64, 64), 640, 360, bytes_per_position=1, max_bytes=1000)
    assert caught.value.limit == "max_memory_bytes"


def test_tiny_patches_in_huge_overlaps_are_refused():
    with pytest.raises(LimitExceededError) as caught:
        plan_tiles(PatchRules(500, True, 1, 1), 1920, 1080)
    assert caught.value.limit == "patch_overhead"


def test_batches_keep_the_bound():
    rules = PatchRules(0, True, 16, 16)
    free = plan_tiles(rules, 160, 160, batching=True)
    assert free.batch == 16
    bound = plan_tiles(rules, 160, 160, batching=True, bytes_per_position=1, max_bytes=16 * 16 * 3)
    assert bound.batch == 3
    assert plan_tiles(rules, 160, 160).batch == 1


def test_impossible_sizes_are_the_callers_mistake():
    with pytest.raises(ValueError, match="impossible"):
        PatchRules(0, True, 0, 4)
