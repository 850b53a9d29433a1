# SPDX-License-Identifier: Apache-2.0
"""Reports made by hand, with figures that can be looked for."""

from dataclasses import replace

import numpy as np
import pytest

from nnrvideo.container import png_bytes
from nnrvideo.metrics import Quality
from nnrvideo.report.results import (
    AnchorFile,
    Bits,
    ChangeMap,
    CodedFile,
    Crop,
    NetworkFacts,
    Report,
    Source,
    Span,
)

PNG = png_bytes(np.zeros((4, 4, 3), np.uint8))
CURVE = [(100_000, 30.0), (200_000, 33.0), (400_000, 35.5), (800_000, 37.0)]


def quality(psnr, **more):
    return Quality(psnr_y=psnr, psnr_cb=psnr + 2, psnr_cr=psnr + 3, ssim_y=psnr / 40, **more)


def coded(number, bits, psnr):
    network = NetworkFacts(
        7, True, ("resolution resampling",), (128, 96), 1250, 345, 2, "ab" * 32, "", (0.0, 1.0)
    )
    spans = tuple(
        Span(start, start + 1.0, 24, bits // 2, 5000, psnr, psnr + 1.0, 60.0, 70.0)
        for start in (0.0, 1.0)
    )
    crop = Crop("largest gain", 0.5, 8, 16, 2.5, PNG, PNG, PNG, PNG, 16.0)
    return CodedFile(
        name=f"coded{number}.mp4",
        curve="hevc + network",
        codec="hevc",
        width=64,
        height=48,
        pictures=48,
        enhanced=47,
        unpaired=1,
        seconds=2.0,
        bits=Bits(video=bits - 20_000, base=10_000, repeats=9_000, activations=1_000),
        plain=quality(psnr, flicker=2.0, static_flicker=1.0, vmaf=psnr + 40),
        network=quality(psnr + 1.0, flicker=1.5, static_flicker=1.1, vmaf=psnr + 50),
        networks=(network,),
        scenes=spans,
        timeline=spans,
        crops=(crop,),
        change_map=ChangeMap(PNG, 3.25, 0.125),
        notes=("1 of 48 pictures not enhanced: no filter is active",),
    )


@pytest.fixture
def report():
    files = tuple(coded(n, 2 * bits, psnr) for n, (bits, psnr) in enumerate(CURVE))
    anchors = tuple(
        AnchorFile(
            f"anchor{n}.mp4",
            "anchor h264",
            "h264",
            128,
            96,
            48,
            0,
            2.0,
            Bits(2 * bits),
            quality(psnr + 1.0, vmaf=psnr + 45),
        )  # fmt: skip
        for n, (bits, psnr) in enumerate((bits * 5 // 4, psnr) for bits, psnr in CURVE)
    )
    source = Source("source.mp4", 128, 96, 8, 24.0, 48, 2.0)
    return Report(
        title="A title",
        source=source,
        coded=files,
        anchors=anchors,
        projected_seconds=20.0,
        vmaf_model="vmaf_v0.6.1",
        libvmaf_version="3.0.0",
        absent={"ms_ssim_y": "pictures are smaller than 161 samples"},
        software="nnrvideo 1",
    )


@pytest.fixture
def with_coded(report):
    """Function that changes fields of the first coded file."""

    def change(**fields):
        return replace(report, coded=(replace(report.coded[0], **fields), *report.coded[1:]))

    return change
