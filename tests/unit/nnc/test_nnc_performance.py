# SPDX-License-Identifier: Apache-2.0
"""Performance maps as JSON: through the bitstream and back, and one line for what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnrvideo import nnc

FACTS = {
    "performance_metric_type": "PSNR",
    "validation_set_performance": 37.25,
    "sparsification_performance_map": [
        {
            "sparsification_threshold": 0.5,
            "non_zero_ratio": 0.25,
            "spm_nn_accuracy": 36.5,
            "spm_class_bitmask": 5,
            "spm_nn_class_accuracy": [36.0, 37.0],
        },
        {
            "sparsification_threshold": 1.0,
            "non_zero_ratio": 0.125,
            "spm_nn_accuracy": 30.5,
            "spm_class_bitmask": 0,
            "spm_nn_class_accuracy": [],
        },
    ],
    "pruning_performance_map": [
        {
            "pruning_ratio": 0.5,
            "ppm_nn_accuracy": 35.0,
            "ppm_class_bitmask": 0,
            "ppm_nn_class_accuracy": [],
        }
    ],
    "unification_performance_map": [
        {
            "reshaped_tensor_dimensions": [3, 300],
            "super_block_dimensions": [2],
            "block_dimensions": [],
            "unification_threshold": 0.5,
            "upm_nn_accuracy": 36.0,
            "upm_count_classes": 2,
            "upm_class_bitmask": 2,
            "upm_nn_class_accuracy": [1.0, 2.0],
        }
    ],
    "decomposition_performance_map": [
        {
            "mse_threshold": 0.0625,
            "dpm_nn_accuracy": 36.75,
            "nn_reduction_ratio": 0.5,
            "dpm_nn_class_accuracy": [1.5],
        }
    ],
}


def as_json(value):
    return json.loads(json.dumps(value))


def through_a_stream(facts):
    parameters = nnc.performance_from_json(facts)
    stream = nnc.encode({"w": np.ones((2, 2), np.float32)}, parameters=parameters)
    decoded = nnc.decode(stream)
    assert nnc.recode(decoded) == stream
    return as_json(nnc.performance_to_json(decoded.parameter_set))


def test_all_of_it_comes_back():
    assert through_a_stream(FACTS) == FACTS


@pytest.mark.parametrize("key", FACTS)
def test_each_part_alone(key):
    facts = {key: FACTS[key]}
    if key == "performance_metric_type":
        with pytest.raises(ValueError, match="without a performance or map"):
            nnc.performance_from_json(facts)
    else:
        assert through_a_stream(facts) == facts


def test_nothing_is_nothing():
    assert through_a_stream({}) == {}
    assert nnc.performance_to_json(None) == {}
    empty = {"pruning_performance_map": []}
    assert through_a_stream(empty) == empty


def test_what_may_be_left_out():
    short = {
        "sparsification_performance_map": [
            {"sparsification_threshold": 1, "non_zero_ratio": 0.5, "spm_nn_accuracy": 0.9}
        ],
        "unification_performance_map": [{"unification_threshold": 0.5, "upm_nn_accuracy": 0.5}],
    }
    found = through_a_stream(short)
    (entry,) = found["sparsification_performance_map"]
    assert entry["spm_nn_accuracy"] == float(np.float32(0.9))
    assert (entry["spm_class_bitmask"], entry["spm_nn_class_accuracy"]) == (0, [])
    assert found["unification_performance_map"][0]["upm_count_classes"] == 0


def changed(key, **values):
    return {key: [{**FACTS[key][0], **values}]}


PRUNING, UNIFICATION = "pruning_performance_map", "unification_performance_map"
WRONG = {
    "no object": ([], "is a JSON object"),
    "other key": ({"psnr": 1}, "a performance map has no 'psnr'; it has decomposition_"),
    "no text": ({"performance_metric_type": 1}, "performance_metric_type is no text"),
    "zero byte": ({"performance_metric_type": "\0"}, "no text without zero bytes"),
    "no list": ({PRUNING: {}}, f"{PRUNING} is no list of at most 254"),
    "too many": ({PRUNING: [{}] * 255}, "no list of at most 254 entries"),
    "no entry": ({PRUNING: [3]}, rf"{PRUNING}\[0\] is no object"),
    "other element": (changed(PRUNING, x=1), rf"{PRUNING}\[0\] has no 'x'; it has ppm_"),
    "missing": ({PRUNING: [{"pruning_ratio": 1}]}, r"\[0\].ppm_nn_accuracy is missing"),
    "text": (changed(PRUNING, pruning_ratio="1"), r"\[0\].pruning_ratio is no number"),
    "truth": (changed(PRUNING, pruning_ratio=True), "is no number"),
    "infinite": (changed(PRUNING, pruning_ratio=1e300), "is outside binary32"),
    "beyond binary64": (changed(PRUNING, pruning_ratio=10**400), "is outside binary32"),
    "nan": ({"validation_set_performance": float("nan")}, "validation_set_performance is outside"),
    "bitmask": (changed(PRUNING, ppm_class_bitmask=1.5), "ppm_class_bitmask is no integer"),
    "negative": (changed(PRUNING, ppm_class_bitmask=-1), "no integer of 0 to"),
    "classes": (
        changed(PRUNING, ppm_nn_class_accuracy=[0.0] * 256),
        "ppm_nn_class_accuracy is no list of at most 255 numbers",
    ),
    "class": (
        changed(PRUNING, ppm_nn_class_accuracy=[0, None]),
        r"ppm_nn_class_accuracy\[1\] is no number",
    ),
    "unification": (
        changed(UNIFICATION, upm_class_bitmask=3),
        r"\[0\].upm_class_bitmask is not 2: deployed decoders",
    ),
    "block": (changed(UNIFICATION, block_dimensions=[256]), "block_dimensions has a size over 255"),
    "count": (changed(UNIFICATION, upm_count_classes=256), "upm_count_classes is over 255"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case):
    facts, message = WRONG[case]
    with pytest.raises(ValueError, match=message):
        nnc.performance_from_json(facts)
