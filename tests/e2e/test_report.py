# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo report`` and ``compare`` on real files: figures against an independent decode."""

import csv
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nnrvideo.cli.main import main
from nnrvideo.container import open_media
from nnrvideo.data import base_network
from nnrvideo.metrics.vmaf import EXECUTABLE_VARIABLE, find_vmaf

CLIP = Path(__file__).resolve().parents[2] / "samples" / "bbb_sample.mp4"
PICTURES = 12
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-t", "0.5", "-g", "6", "-q"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def files(folder):
    """Half a second at two rates with the shipped network, and two plain encodes of it."""
    coded, anchors = [], []
    for crf in ("24", "34"):
        path = folder / f"coded{crf}.mp4"
        assert main(["encode", "-i", str(CLIP), *X264, "-crf", crf, str(path)]) == 0
        coded.append(str(path))
        stripped = folder / f"anchor{crf}.mp4"
        assert main(["strip", "-i", str(path), str(stripped), "-q"]) == 0
        anchors.append(str(stripped))
    return coded, anchors


@pytest.fixture(scope="module")
def results(folder, files):
    """Everything that one run writes."""
    coded, anchors = files
    outputs = ["-o", str(folder / "r.html"), "--json", str(folder / "r.json")]
    arguments = ["report", "-r", str(CLIP), "-i", *coded, "--anchor", *anchors, *outputs]
    arguments += ["--csv", str(folder / "r"), "-progress", str(folder / "progress.txt")]
    arguments += ["--metrics", "psnr,ssim,flicker", "-q"]
    assert main(arguments) == 0
    return json.loads((folder / "r.json").read_text())


def luma_psnr(first, second):
    error = sum(float(((a.astype(int) - b) ** 2).sum()) for a, b in zip(first, second, strict=True))
    return 10 * math.log10(255**2 * sum(a.size for a in first) / error)


def lumas(path, count=PICTURES):
    with open_media(path) as media:
        return [item.picture.planes[0].copy() for item, _ in zip(media.pictures(), range(count))]


def test_network_psnr_is_that_of_the_enhanced_file(folder, files, results):
    for path, entry in zip(reversed(files[0]), results["coded"], strict=True):  # by rate
        enhanced = folder / "enhanced.y4m"
        assert main(["enhance", "-i", path, str(enhanced), "-y", "-q"]) == 0
        assert entry["name"] == Path(path).name
        assert entry["enhanced"] == entry["pictures"] == PICTURES
        expected = luma_psnr(lumas(CLIP), lumas(enhanced))
        assert entry["network"]["psnr_y"] == pytest.approx(expected, abs=1e-9)
        assert entry["network"]["psnr_y"] > entry["plain"]["psnr_y"]


def test_bits_are_those_of_the_file(files, results, capsys):
    for path, entry in zip(reversed(files[0]), results["coded"], strict=True):
        assert main(["probe", path, "--json"]) == 0
        probed = json.loads(capsys.readouterr().out)
        bits = entry["bits"]
        networks = sum(bits[k] for k in ("base", "updates", "repeats", "activations"))
        assert networks == 8 * probed["network_bytes"]
        assert bits["video"] == 8 * probed["video_bytes"]
        assert bits["base"] - 8 * len(base_network()) in range(1, 8 * 200)
        assert bits["repeats"] == bits["base"]  # two key frames
        assert sum(s["video_bits"] for s in entry["timeline"]) == bits["video"]
        assert sum(s["network_bits"] for s in entry["scenes"]) == networks
        assert entry["seconds"] == 0.5
        assert entry["networks"][0]["sent_at"] == [0, 0.25]


def test_updates_are_counted_and_listed(folder, files):
    from nnrvideo.authoring import embed
    from nnrvideo.model import diff, receive

    received = receive(base_network())
    name, bias = next((k, v) for k, v in received.tensors.items() if v.ndim == 1)
    update = diff(received, {name: bias + np.float32(0.01)})
    film, out = folder / "updated.mp4", folder / "updated.json"
    embed(files[1][0], film, base_network(), updates={Fraction(3, 8): update})
    arguments = ["report", "-r", str(CLIP), "-i", str(film), "--json", str(out), "-q"]
    assert main([*arguments, "--metrics", "psnr"]) == 0
    (entry,) = json.loads(out.read_text())["coded"]
    assert 8 * len(update) < entry["bits"]["updates"] < 8 * (len(update) + 100)
    assert [network["is_base"] for network in entry["networks"]] == [True, False]
    assert entry["networks"][1]["sent_at"][0] <= 3 / 8
    assert entry["enhanced"] == PICTURES


def test_timeline_adds_up_to_the_sequence(results):
    for entry in results["coded"]:
        assert len(entry["timeline"]) == PICTURES
        errors = [10 ** (-span["network_psnr_y"] / 10) for span in entry["timeline"]]
        whole = -10 * math.log10(np.mean(errors))
        assert whole == pytest.approx(entry["network"]["psnr_y"], abs=1e-9)


def test_plain_side_is_that_of_the_file_without_networks(results):
    for entry, anchor in zip(results["coded"], reversed(results["anchors"]), strict=True):
        assert entry["plain"] == anchor["quality"]
        assert entry["bits"]["video"] == pytest.approx(anchor["bits"]["video"], rel=0.01)
        assert anchor["curve"] == "anchor h264"


def test_page_and_tables(folder, results):
    page = (folder / "r.html").read_text()
    assert "h264 + network" in page
    assert page.count("data:image/png;base64,") >= 2 * 5
    tables = sorted(folder.glob("r-*.csv"))
    assert len(tables) == 3
    rows = list(csv.DictReader(tables[0].read_text().splitlines()))
    assert [float(row["psnr_y"]) for row in rows] == [
        entry["network"]["psnr_y"] for entry in results["coded"]
    ]
    assert main(["bdrate", str(tables[1]), str(tables[0]), "--metric", "psnr_y"]) in (0, 1)


def test_progress_counts_all_files(folder, results):
    text = (folder / "progress.txt").read_text()
    assert text.endswith("progress=end\n")
    assert f"frame={4 * PICTURES}\ntotal={4 * PICTURES}\n" in text


def test_rendering_again_gives_the_same_page(folder, results):
    again = folder / "again.html"
    assert main(["report", "--from-json", str(folder / "r.json"), "-o", str(again), "-q"]) == 0
    assert again.read_text() == (folder / "r.html").read_text()


def test_json_to_standard_output_and_a_title(folder, results, capsys):
    arguments = ["report", "--from-json", str(folder / "r.json"), "--json", "-", "--title", "<b>"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {**results, "title": "<b>"}


def test_curves_of_anchors_by_name_and_by_number(folder, files):
    out = folder / "named.json"
    arguments = ["report", "-r", str(CLIP), "-i", *files[0], "--json", str(out), "--frames", "1"]
    for path in files[1] + files[1][:1]:
        arguments += ["--anchor", path]
    assert main([*arguments, "--anchor-name", "x264 fast", "--metrics", "psnr", "-q"]) == 0
    curves = [anchor["curve"] for anchor in json.loads(out.read_text())["anchors"]]
    assert curves == ["x264 fast", "anchor h264 (1)", "anchor h264 (2)"]


def test_projection_can_be_changed_afterwards(folder, results, capsys):
    arguments = ["report", "--from-json", str(folder / "r.json"), "--json", "-", "--project"]
    rates = []
    for seconds in ("60", "600"):
        assert main([*arguments, seconds]) == 0
        found = json.loads(capsys.readouterr().out)["comparisons"][0]
        rates.append(found["projected"]["rate_percent"])
    assert rates[1] < rates[0]
    assert main([*arguments, "0"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["projected"] is None


def test_first_pictures_only(folder, files):
    out = folder / "first.json"
    arguments = ["report", "-r", str(CLIP), "-i", files[0][0], "--json", str(out), "--frames", "4"]
    assert main([*arguments, "--metrics", "psnr", "-q"]) == 0
    (entry,) = json.loads(out.read_text())["coded"]
    assert (entry["pictures"], entry["seconds"]) == (4, pytest.approx(4 / 24))
    assert entry["bits"]["repeats"] == 0
    assert entry["plain"]["ssim_y"] is None


def test_absent_vmaf_is_told_and_not_replaced(folder, files, monkeypatch, capsys):
    find_vmaf.cache_clear()
    monkeypatch.setenv(EXECUTABLE_VARIABLE, str(folder / "no-ffmpeg"))
    out = folder / "absent.json"
    arguments = ["report", "-r", str(CLIP), "-i", files[0][0], "--frames", "2", "--json", str(out)]
    assert main(arguments) == 0
    found = json.loads(out.read_text())
    assert "no-ffmpeg" in found["absent"]["vmaf"]
    assert found["coded"][0]["network"]["vmaf"] is None
    assert "no vmaf: no ffmpeg with libvmaf" in capsys.readouterr().out
    assert main([*arguments, "-y", "--metrics", "vmaf"]) == 5
    assert "nnrvideo[vmaf]" in capsys.readouterr().err
    find_vmaf.cache_clear()


def test_vmaf_of_ten_bits(folder, make_clip):
    try:
        find_vmaf()
    except Exception as error:
        pytest.skip(str(error))
    source = make_clip(
        folder / "deep.mkv", codec="libx265", pix_fmt="yuv420p10le", size=(256, 192), frames=6
    )
    coded, out = folder / "deep-coded.mp4", folder / "deep.json"
    encode = ["encode", "-i", str(source), "-c:v", "libx265", "-crf", "20", str(coded), "-q"]
    assert main(encode) == 0
    assert main(["report", "-r", str(source), "-i", str(coded), "--json", str(out), "-q"]) == 0
    found = json.loads(out.read_text())
    (entry,) = found["coded"]
    assert found["source"]["bit_depth"] == 10
    for side in ("plain", "network"):
        assert all(isinstance(value, float) for value in entry[side].values()), entry[side]
        assert 0 <= entry[side]["vmaf_neg"] <= entry[side]["vmaf"] + 1e-3 <= 100.1


def one_line(capsys, code, *arguments):
    assert main(["report", *map(str, arguments)]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_wrong_use(folder, files, results, capsys, tmp_path):
    page, coded = tmp_path / "x.html", files[0][0]
    assert "give -r SOURCE" in one_line(capsys, 2, "-o", page)
    assert "takes no -r, --frames" in one_line(
        capsys, 2, "--from-json", "x", "-r", CLIP, "--frames", 3, "-o", page
    )
    assert "more --anchor-name" in one_line(
        capsys, 2, "-r", CLIP, "-i", coded, "--anchor-name", "x", "-o", page
    )
    assert "give at least one" in one_line(capsys, 2, "-r", CLIP, "-i", coded)
    assert "exists already" in one_line(capsys, 2, "-r", CLIP, "-i", coded, "-o", folder / "r.html")
    assert "-h264-network.csv exists already" in one_line(
        capsys, 2, "-r", CLIP, "-i", coded, "--csv", folder / "r"
    )
    assert "there is no folder" in one_line(
        capsys, 2, "-r", CLIP, "-i", coded, "--csv", tmp_path / "none" / "r"
    )
    assert "no metric 'ssmi'" in one_line(
        capsys, 2, "-r", CLIP, "-i", coded, "-o", page, "--metrics", "psnr,ssmi"
    )
    assert "carries no network; a plain encode is an anchor" in one_line(
        capsys, 3, "-r", CLIP, "-i", CLIP, "-o", page
    )
    assert "cannot be compared" in one_line(
        capsys, 1, "-r", files[1][0], "-i", coded, "-o", page, "--metrics", "psnr"
    )
    assert 'its member "format"' in one_line(capsys, 1, "--from-json", _junk(tmp_path), "-o", page)
    assert not page.exists()


def _junk(tmp_path):
    path = tmp_path / "junk.json"
    path.write_text('{"format": "x"}')
    return path
