# SPDX-License-Identifier: Apache-2.0
"""Curves and deltas of a report with known answers."""

from dataclasses import replace

import pytest

from nnrvideo.metrics import Quality
from nnrvideo.metrics.curves import read_curves
from nnrvideo.report import comparisons, curve_files, pairs, remarks, to_json
from nnrvideo.report.deltas import curves
from nnrvideo.report.results import Bits


def test_rates_are_charged_with_what_is_sent(report):
    network, plain, anchor = curves(report)
    assert (network.name, network.kind) == ("hevc + network", "network")
    assert plain.name == "hevc, lanczos upscale"
    assert [p.kbps for p in network.points] == [100, 200, 400, 800]
    assert [p.kbps for p in plain.points] == [90, 190, 390, 790]
    assert [p.kbps for p in anchor.points] == [125, 250, 500, 1000]


def test_projection_spreads_the_base_networks_alone(report):
    # 10 000 bits of base over 20 s instead of 2 s; repetitions go on.
    point = curves(report)[0].points[0]
    assert point.projected_kbps == pytest.approx(100 - 5 + 0.5)


def test_bd_rate_of_a_constant_factor(report):
    found = {(c.anchor, c.metric.key): c for c in comparisons(report)}
    assert found["anchor h264", "psnr_y"].delta.rate_percent == pytest.approx(-20)
    assert found["anchor h264", "psnr_y"].projected.rate_percent < -20
    assert found["anchor h264", "psnr_y"].delta.quality_overlap == 1
    assert ("hevc, lanczos upscale", "psnr_y") in found
    assert ("anchor h264", "ms_ssim_y") not in found
    assert list(found)[0] == ("anchor h264", "psnr_y")


def test_longer_files_project_nothing(report):
    short = replace(report, projected_seconds=1.0)
    assert all(c.projected is None for c in comparisons(short))
    assert curves(short)[0].points[0].projected_kbps == pytest.approx(100)


def test_a_curve_that_falls_has_a_reason_instead_of_a_figure(report, with_coded):
    found = comparisons(with_coded(network=Quality(psnr_y=39.0)))
    assert "does not rise" in next(c for c in found if c.metric.key == "psnr_y").delta


def test_remarks_are_made_once_for_all_their_metrics(report, with_coded):
    changed = with_coded(network=Quality(psnr_y=39.0, ssim_y=1.0))
    (first, *_), *_ = pairs(comparisons(changed))
    assert first.anchor == "anchor h264"  # VMAF still has a figure
    assert len([r for r in remarks(pairs(comparisons(changed))[0]) if "does not rise" in r]) == 2
    low = replace(report.anchors[0], curve="anchor low", bits=Bits(1000))
    only = replace(report, anchors=(low, *report.anchors[:0]))
    groups = pairs(comparisons(only))
    assert [group[0].anchor for group in groups] == ["hevc, lanczos upscale", "anchor low"]
    assert remarks(groups[1]) == [
        "PSNR-Y, SSIM, VMAF: the anchor has 1 points; pchip needs 2 or more"
    ]


def test_a_mixed_ladder_is_compared_with_its_own_plain_pictures(report):
    full = replace(report.coded[3], width=128, height=96)
    mixed = replace(report, coded=(*report.coded[:3], full), anchors=())
    assert {c.anchor for c in comparisons(mixed)} == {"hevc, lanczos upscale"}
    same = replace(report, coded=(full,))
    assert "hevc without network" in {curve.name for curve in curves(same)}


def test_without_anchors_only_the_plain_side_is_compared(report):
    found = comparisons(replace(report, anchors=()))
    assert {c.anchor for c in found} == {"hevc, lanczos upscale"}


def test_json_tells_the_comparisons(report, with_coded):
    first, *_ = to_json(report)["comparisons"]
    assert (first["anchor"], first["test"], first["metric"]) == (
        "anchor h264", "hevc + network", "psnr_y",
    )  # fmt: skip
    assert first["delta"]["rate_percent"] == pytest.approx(-20)
    assert first["projected"]["rate_percent"] < -20
    first, *_ = to_json(with_coded(network=Quality(psnr_y=39.0)))["comparisons"]
    assert "does not rise" in first["delta"]["error"]


def test_files_for_bdrate(report, tmp_path):
    names = []
    for name, text in curve_files(report):
        names.append(name)
        (tmp_path / name).write_text(text)
        read = read_curves(tmp_path / name).metrics
        assert set(read) == {"psnr_y", "ssim_y", "vmaf"}
    assert names == ["1-hevc-network", "2-hevc-lanczos-upscale", "3-anchor-h264"]
    assert read["psnr_y"][0] == (125, 31)


def test_names_of_files_cannot_leave_the_folder(report, with_coded):
    names = [name for name, _ in curve_files(with_coded(curve="../../etc/x\0y"))]
    assert not [n for n in names if "/" in n or "." in n or "\0" in n]
