# SPDX-License-Identifier: Apache-2.0
"""The pictures that come out are those of ``nnrvideo enhance``, at the input's times."""

from pathlib import Path

import numpy as np
import pytest

from nnrvideo.cli.main import main
from nnrvideo.container import open_media
from nnrvideo.metrics import psnr
from nnrvideo.player import enhanced_pictures

CLIP = Path(__file__).resolve().parents[2] / "samples" / "bbb_sample.mp4"
ENCODERS = {
    "h264": ["libx264", "-preset", "veryfast"],
    "h265": ["libx265", "-preset", "veryfast"],
    "av1": ["libsvtav1", "-preset", "10"],
}
DECODERS = {"h264": "avdec_h264", "h265": "avdec_h265", "av1": "av1dec"}


@pytest.fixture(scope="module", params=ENCODERS)
def coded(request, tmp_path_factory):
    """A second of the sample clip with the shipped network inside; codec and file."""
    path = tmp_path_factory.mktemp("coded") / "coded.mp4"
    options = ["-c:v", *ENCODERS[request.param], "-t", "1", "-g", "12", "-q"]
    assert main(["encode", "-i", str(CLIP), *options, str(path)]) == 0
    return request.param, path


def expected(path):
    with open_media(path) as media:
        return [(item.pts, item.picture, item.enhanced) for item in enhanced_pictures(media)]


def test_gst_launch_gives_the_pictures_of_the_command_line(coded, launch, tmp_path):
    codec, path = coded
    launch(
        "gst-launch-1.0", "-q", "filesrc", f"location={path}", "!", "qtdemux", "!",
        f"{codec}parse", "!", "nnrextract", "!", DECODERS[codec], "!", "nnrenhance", "!",
        "filesink", f"location={tmp_path / 'out.yuv'}",
    )  # fmt: skip
    data = np.fromfile(tmp_path / "out.yuv", np.uint8).reshape(-1, 1280 * 720 * 3 // 2)
    wanted = expected(path)
    assert len(data) == len(wanted) == 24
    for found, (_, picture, enhanced) in zip(data, wanted, strict=True):
        assert enhanced
        for plane, samples in zip(
            picture.planes, np.split(found, [1280 * 720, 1280 * 720 * 5 // 4]), strict=True
        ):
            assert psnr(plane, samples.reshape(plane.shape)) >= 60


def test_timestamps_are_those_of_the_file(coded, pipeline):
    codec, path = coded
    running = pipeline(
        f"filesrc location={path} ! qtdemux ! {codec}parse ! nnr{codec}decodebin "
        "! appsink name=out sync=false"
    )
    with open_media(path) as media:
        times = sorted(unit.time for unit in media.access_units())
    frames = running.frames()
    assert [round(f.time / 1e6) for f in frames] == [round(float(t) * 1000) for t in times]
    (said,) = running.said("nnrvideo-network-changed")
    assert (said["nnpfc-id"], said["active"], said["running-time"]) == (7, True, 0)
