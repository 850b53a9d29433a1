# SPDX-License-Identifier: Apache-2.0
"""Models that name data files which are not theirs, or places that are not there.

Spec: ONNX external data.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from nnrvideo.errors import LimitExceededError, ModelError
from nnrvideo.limits import Limits
from nnrvideo.model import load_onnx

WEIGHT, BYTES = (4, 4), 64


@pytest.fixture
def folder(tmp_path):
    """A folder for the model with a data file of two weights, and a secret beside the folder."""
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    found = tmp_path / "models"
    (found / "below").mkdir(parents=True)
    (found / "w.bin").write_bytes(np.arange(2 * BYTES // 4, dtype=np.float32).tobytes())
    (found / "below" / "w.bin").write_bytes(bytes(2 * BYTES))
    return found


def model(folder, *entries):
    """A model of one weight for each of the entries of external data."""
    nodes, stored = [], []
    for number, entry in enumerate(entries):
        tensor = numpy_helper.from_array(np.zeros(WEIGHT, np.float32), f"w{number}")
        external_data_helper.set_external_data(tensor, **{"location": "w.bin", **entry})
        tensor.ClearField("raw_data")
        stored.append(tensor)
        nodes.append(helper.make_node("Add", ["x" if not number else f"v{number - 1}",
                                              f"w{number}"], [f"v{number}"]))  # fmt: skip
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, WEIGHT)
        for name in ("x", f"v{len(entries) - 1}")
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], stored)
    opset = [helper.make_opsetid("", 17)]
    path = folder / "net.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    return path


def test_what_honest_models_say(folder):
    found = load_onnx(
        model(
            folder,
            {},
            {"offset": BYTES, "length": BYTES},
            {"offset": 0, "length": BYTES},  # tied to the first
            {"location": "below/w.bin", "offset": 17},
        )
    ).tensors
    np.testing.assert_array_equal(found["w0"].ravel(), np.arange(16))
    np.testing.assert_array_equal(found["w1"].ravel(), np.arange(16, 32))
    np.testing.assert_array_equal(found["w2"], found["w0"])
    assert not found["w3"].any()


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "below/../../secret.bin",
        "/etc/passwd",
        "",
        ".",
        "missing.bin",
        "w.bin\0.txt",
        "x" * 5000,
        "http://example.org/w.bin",
        "file:///etc/passwd",
    ],
)
def test_file_elsewhere(folder, location):
    with pytest.raises(ModelError, match="no data file"):
        load_onnx(model(folder, {"location": location}))


def test_absolute_path_even_to_the_own_folder(folder):
    with pytest.raises(ModelError, match="no data file"):
        load_onnx(model(folder, {"location": str(folder / "w.bin")}))


@pytest.mark.parametrize("link", ["to a file", "to a folder", "in circles"])
def test_links_out_of_the_folder(folder, link):
    if link == "to a file":
        (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
        location = "link.bin"
    elif link == "to a folder":
        (folder / "up").symlink_to(folder.parent)
        location = "up/secret.bin"
    else:
        (folder / "a").symlink_to(folder / "b")
        (folder / "b").symlink_to(folder / "a")
        location = "a"
    with pytest.raises(ModelError, match="no data file"):
        load_onnx(model(folder, {"location": location}))


def test_link_inside_the_folder_is_followed(folder):
    (folder / "link.bin").symlink_to(folder / "w.bin")
    assert load_onnx(model(folder, {"location": "link.bin"})).tensors["w0"][0, 1] == 1


@pytest.mark.parametrize(
    "entry",
    [
        {"offset": 2 * BYTES},
        {"offset": BYTES + 1},
        {"offset": 1 << 62},
        {"offset": 1 << 80},
        {"offset": -1},
        {"offset": "ten"},
        {"length": BYTES - 1},
        {"length": BYTES + 1},
        {"length": 1 << 62},
        {"length": -BYTES},
        {"length": ""},
    ],
)
def test_place_that_is_not_there(folder, entry):
    path = model(folder, {})
    proto = onnx.load(path, load_external_data=False)
    for key, value in entry.items():
        proto.graph.initializer[0].external_data.add(key=key, value=str(value))
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="w0"):
        load_onnx(path)


@pytest.mark.parametrize("offset", [4, 32, 60])
def test_tensors_that_overlap(folder, offset):
    entries = [{"offset": 0, "length": BYTES}, {"offset": offset, "length": BYTES}]
    for order in (entries, entries[::-1]):
        with pytest.raises(ModelError, match="overlaps"):
            load_onnx(model(folder, *order))


def test_one_file_for_endless_tensors(folder):
    """Tied tensors cost memory each; their sum is bounded before any of them is read."""
    path = model(folder, *[{}] * 50)
    with pytest.raises(LimitExceededError, match="max_total_elements"):
        load_onnx(path, limits=Limits(max_total_elements=16 * 49))
