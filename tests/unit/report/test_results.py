# SPDX-License-Identifier: Apache-2.0
"""JSON of a report: there and back, and one clear line for whatever is none."""

import json
import math
from dataclasses import replace

import pytest

from nnrvideo.report import ReportFileError, from_json, to_json


def encode(report):
    return json.dumps(to_json(report), allow_nan=False).encode()


def test_there_and_back(report):
    assert from_json(encode(report)) == report


def test_infinite_figures_survive(report, with_coded):
    changed = with_coded(plain=replace(report.coded[0].plain, psnr_y=math.inf))
    assert to_json(changed)["coded"][0]["plain"]["psnr_y"] == "inf"
    assert from_json(encode(changed)) == changed


def test_optional_members_may_be_left_out_and_unknown_ones_are_passed_over(report):
    document = to_json(report)
    del document["anchors"], document["coded"][0]["crops"]
    document["later"] = {"x": 1}
    read = from_json(json.dumps(document).encode())
    assert read.anchors == ()
    assert read.coded[0].crops == ()


def set_at(document, path, value):
    *way, last = path
    for step in way:
        document = document[step]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "other", '"format"'),
        (["version"], 2, "version 2"),
        (["coded"], {}, "report.coded: a list"),
        (["coded", 0], 5, r"report.coded\[0\]: an object"),
        (["coded", 0, "seconds"], "long", r"report.coded\[0\].seconds: a number"),
        (["coded", 0, "seconds"], 0, "seconds and bits must be over 0"),
        (["coded", 0, "seconds"], "inf", "seconds and bits must be over 0"),
        (["coded", 0, "seconds"], 1e-300, "seconds and bits must be over 0"),
        (["coded", 0, "bits", "video"], -1, "seconds and bits"),
        (["coded", 0, "bits", "video"], 0, "seconds and bits"),
        (["coded", 0, "scenes", 0, "start"], -1, "no span"),
        (["coded", 0, "timeline", 0, "end"], 1e-300, "no span"),
        (["coded", 0, "bits", "video"], 1.5, "a whole number"),
        (["coded", 0, "bits", "video"], True, "a whole number"),
        (["coded", 0, "plain", "psnr_y"], None, "psnr_y: a number"),
        (["coded", 0, "crops", 0, "plain"], "AAAA", "a PNG file in base64"),
        (["coded", 0, "crops", 0, "plain"], "http://x/y.png", "a PNG file in base64"),
        (["coded", 0, "change_map", "image"], 7, "a PNG file in base64"),
        (["coded", 0, "scenes", 0, "end"], 0.0, "no span"),
        (["coded", 0, "networks", 0, "output_size"], [1, 2, 3], "a list of 2"),
        (["absent"], {"vmaf": 3}, "report.absent.vmaf: a str"),
        (["title"], None, "report.title: a str"),
        (["projected_seconds"], 0, "projected_seconds"),
    ],
)
def test_wrong_members_are_named(report, path, value, message):
    document = to_json(report)
    set_at(document, path, value)
    with pytest.raises(ReportFileError, match=message):
        from_json(json.dumps(document).encode())


def test_missing_member(report):
    document = to_json(report)
    del document["coded"][1]["bits"]
    with pytest.raises(ReportFileError, match=r"coded\[1\]: member 'bits' is missing"):
        from_json(json.dumps(document).encode())


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[]", b"null", b"{", b"[" * 100_000, b'{"a": NaN}', b"1" * 5000]
)
def test_what_is_no_report_at_all(data):
    with pytest.raises(ReportFileError):
        from_json(data)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none(report, number):
    text = encode(report).decode().replace('"seconds": 2.0', f'"seconds": {number}')
    with pytest.raises(ReportFileError):
        from_json(text.encode())
