# SPDX-License-Identifier: Apache-2.0
"""Media vectors: messages of another writer, in every container, found where they were put.

Key frame 1 carries a base and its activation; 2 the base, an update and the activation of the
update; 3 the base, the update and a cancellation.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction

import pytest

from nnrvideo.authoring import extract, probe, strip
from nnrvideo.container import open_media

FILES = [
    *(f"h264_nnpf.{suffix}" for suffix in ("h264", "mp4", "frag.mp4", "mkv", "ts")),
    *(f"hevc_nnpf.{suffix}" for suffix in ("h265", "mp4", "frag.mp4", "mkv", "ts")),
]
START_CODE = re.compile(rb"\x00{2,}\x01")
BARE = {"h264": "base_h264", "hevc": "base_hevc"}


@pytest.fixture
def folder(shared):
    return shared / "vectors/sei"


@pytest.fixture
def listed(folder) -> dict[str, bytes]:
    text = (folder / "sei/messages.json").read_text()
    return {name: bytes.fromhex(value) for name, value in json.loads(text).items()}


def bare(folder, name):
    """The same film without messages."""
    codec, suffix = name.split("_")[0], name.rsplit(".", 1)[1]
    return folder / f"{BARE[codec]}.{suffix}"


def coded(path, name):
    """NAL units of each access unit.

    In byte streams their order and the length of start codes do not count: the vectors' writer
    put all messages before the parameter sets.
    """
    with open_media(path) as media:
        units = [unit.data for unit in media.access_units()]
    if name.endswith((".ts", ".h264", ".h265")):
        return [sorted(START_CODE.split(unit)) for unit in units]
    return units


@pytest.mark.parametrize("name", FILES)
def test_networks_are_found(folder, listed, name):
    base, update = extract(folder / "sei" / name)
    assert (base.nnpfc_id, base.is_base, base.payload) == (7, True, listed["payload_base"])
    assert (update.nnpfc_id, update.is_base) == (7, False)
    assert update.payload == listed["payload_update"]
    assert base.pts[1:] == update.pts
    start = base.pts[0]
    for time, expected in zip(base.pts, (0, Fraction(2, 3), Fraction(4, 3)), strict=True):
        assert abs(time - start - expected) <= Fraction(1, 1000)  # Matroska counts milliseconds


@pytest.mark.parametrize("name", FILES)
def test_activations_are_found(folder, name):
    report = probe(folder / "sei" / name)
    said = [(a.nnpfc_id, a.cancel, a.uses_base) for a in report.activations]
    assert said == [(7, False, True), (7, False, False), (7, True, False)]
    assert [a.pts for a in report.activations] == list(
        report.networks[0].occurrences[k].pts for k in range(3)
    )
    # The payload is no NNC bitstream, and that is all there is to complain about.
    (problem,) = report.problems
    assert problem.startswith("network of filter 7: NNC unit 0 (at byte 0)")


@pytest.mark.parametrize("name", FILES)
def test_pictures_are_those_of_the_bare_film(folder, decode_clip, name):
    digests = [digest for _, digest in decode_clip(folder / "sei" / name)]
    assert digests == [digest for _, digest in decode_clip(bare(folder, name))]
    assert len(digests) > 20


@pytest.mark.parametrize("name", FILES)
def test_stripping_gives_the_bare_film(folder, tmp_path, name):
    target = tmp_path / f"bare.{name.rsplit('.', 1)[1]}"
    strip(folder / "sei" / name, target)
    assert coded(target, name) == coded(bare(folder, name), name)


@pytest.mark.parametrize("name", [f"big_{c}_100k.{s}" for c in BARE for s in ("mkv", "mp4")])
def test_large_network(folder, name):
    (network,) = extract(folder / name)
    assert len(network.payload) == 100_000
    assert len(network.pts) == 1


# Here the first key frame alone has messages (VVC), or all have the same ones (AV1).
LATER_FILES = {
    **dict.fromkeys((f"av1_t35.{suffix}" for suffix in ("mp4", "mkv", "ivf", "obu")), 3),
    **dict.fromkeys((f"vvc_nnpf.{suffix}" for suffix in ("mp4", "mkv", "ts", "266")), 1),
}


@pytest.mark.parametrize("name", LATER_FILES)
def test_networks_are_found_in_av1_and_vvc(folder, listed, tmp_path, decode_clip, name):
    path = folder / "sei" / name
    (base,) = extract(path)
    assert (base.nnpfc_id, base.is_base, base.payload) == (7, True, listed["payload_base"])
    report = probe(path)
    assert len(base.pts) == LATER_FILES[name] == len(report.activations) == report.clvs_count
    assert all(a.nnpfc_id == 7 and a.uses_base for a in report.activations)
    target = tmp_path / name
    strip(path, target)
    assert extract(target) == []
    pictures = [digest for _, digest in decode_clip(path)]
    assert [digest for _, digest in decode_clip(target)] == pictures
    if name.startswith("av1"):
        plain = folder / f"base_av1.{name.split('.')[1]}"
        assert [digest for _, digest in decode_clip(plain)] == pictures
        with open_media(plain) as old, open_media(target) as new:
            assert [u.data for u in old.access_units()] == [u.data for u in new.access_units()]


# From the reference software for VVC.
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("plain", []),
        ("v1_base_quality", [(7, True, 3009)]),
        ("v2_sr2x_uri_luma_int8", [(0, True, 0)]),
        ("v3_two_filters_interp_qp", [(11, True, 3009), (12, True, 700)]),
        ("v4_chroma444_hdr_meta", [(300_000, True, 700)]),
        ("v5_app_prompt_seed", [(5, True, 700)]),
        ("v6_temporal_extrap", [(9, True, 700)]),
        ("upd_base_plus_update_same_au", [(7, True, 3), (7, False, 3)]),
    ],
)
def test_streams_of_vtm(folder, name, found):
    payloads = {3009: "payload_a.nnr", 700: "payload_b.nnr"}
    networks = extract(folder / "vtm" / f"{name}.266")
    assert [(n.nnpfc_id, n.is_base, len(n.payload)) for n in networks] == found
    for network in networks:
        assert network.pts == (0,)
        if len(network.payload) in payloads:
            expected = (folder / "vtm" / payloads[len(network.payload)]).read_bytes()
            assert network.payload == expected
