# SPDX-License-Identifier: Apache-2.0
"""The sample uses of README: files, players, live streams, the sending side."""

import socket
from itertools import pairwise

import pytest

from nnrvideo.authoring import embed, probe

SECOND = 1_000_000_000
CODECS = {"h264": "libx264", "h265": "libx265"}


@pytest.fixture(scope="module", params=["h264", "h265"])
def bare(request, numbered_clip, tmp_path_factory):
    """Codec and a film of 60 pictures without a network, three key frames."""
    path = tmp_path_factory.mktemp("bare") / "bare.mp4"
    return request.param, numbered_clip(path, CODECS[request.param], 60)


@pytest.fixture(scope="module")
def film(bare, lifter):
    codec, path = bare
    embed(path, path.with_name("film.mp4"), lifter.base(20))
    return codec, path.with_name("film.mp4")


@pytest.fixture(scope="module")
def networks(lifter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    (folder / "base.nnc").write_bytes(lifter.bitstream(20))
    for lift in (40, -30):
        (folder / f"update{lift}.nnc").write_bytes(lifter.update(lift))
    return folder


# -- players -------------------------------------------------------------------------------------


@pytest.mark.parametrize("player", ["decodebin", "decodebin3"])
def test_players_plug_the_bin_when_its_rank_is_raised(film, pipeline, numbers, gst, player):
    codec, path = film
    feature = gst.Registry.get().lookup_feature(f"nnr{codec}decodebin")
    feature.set_rank(300)
    try:
        running = pipeline(f"filesrc location={path} ! {player} ! appsink name=out sync=false")
        assert [numbers(f) for f in running.frames()] == [(n, 20) for n in range(60)]
    finally:
        feature.set_rank(gst.Rank.NONE)


def test_playbin_with_the_bin(film, pipeline, gst):
    codec, path = film
    feature = gst.Registry.get().lookup_feature(f"nnr{codec}decodebin")
    feature.set_rank(300)
    try:
        running = pipeline(f"playbin uri=file://{path} video-sink=fakesink", state="PAUSED")
        made = [e.get_factory() for e in elements(running.bin)]
        found = [factory.get_name() for factory in made if factory is not None]
        assert f"nnr{codec}decodebin" in found
        assert "nnrenhance" in found
    finally:
        feature.set_rank(gst.Rank.NONE)


def elements(container):
    iterator = container.iterate_recurse()
    while (step := iterator.next())[0].value_nick == "ok":
        yield step[1]


def test_playbin_with_a_video_filter(film, pipeline, gst, networks):
    """A filter of playbin sees decoded pictures only: the network comes from a file."""
    _, path = film
    running = pipeline(
        f'playbin uri=file://{path} video-filter="nnrenhance name=e '
        f'model-file={networks}/base.nnc" video-sink="appsink name=out sync=false"',
        state=None,
    )
    running.sink = running.bin.get_property("video-sink")
    running.set_state("PLAYING")
    frames = running.frames()
    assert len(frames) == 60
    assert {f.size for f in frames} == {(192, 128)}


@pytest.mark.parametrize("decoder", ["avdec_h264", "libde265dec", "nonsense", "x264enc"])
def test_base_decoder(film, launch, decoder):
    codec, path = film
    said = launch(
        "gst-launch-1.0", "filesrc", f"location={path}", "!", "qtdemux", "!", f"{codec}parse", "!",
        f"nnr{codec}decodebin", f"base-decoder={decoder}", "!", "fakesink", check=False,
    )  # fmt: skip
    fits = {"avdec_h264": "h264", "libde265dec": "h265"}.get(decoder) == codec
    assert (said.returncode == 0) == fits, said.stderr
    if not fits:
        words = "no element 'nonsense'" if decoder == "nonsense" else f"{decoder} does not fit"
        assert words in said.stderr


# -- the sending side ----------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["avc3,avc,hev1,hvc1", "byte-stream"])
def test_insert_with_updates(bare, networks, pipeline, numbers, framing):
    codec, path = bare
    formats = [f for f in framing.split(",") if (f[0] == "a") == (codec == "h264") or "b" in f]
    caps = f"video/x-{codec},stream-format={{{','.join(formats)}}}"
    running = pipeline(
        f"filesrc location={path} ! qtdemux ! {codec}parse ! {caps} "
        f'! nnrinsert name=i location={networks}/base.nnc updates="0.68={networks}/update40.nnc,'
        f'1.48={networks}/update-30.nnc" ! nnr{codec}decodebin ! appsink name=out sync=false'
    )
    seen = [numbers(f) for f in running.frames()]
    assert seen == [(n, 20 if n < 17 else 40 if n < 37 else -30) for n in range(60)]
    stats = running["i"].get_property("stats")
    assert stats.get_value("access-units") == 60
    assert stats.get_value("positions") >= 3
    assert stats.get_value("message-bytes") > 3 * len((networks / "base.nnc").read_bytes())


def test_update_while_playing(bare, networks, pipeline, numbers):
    from gi.repository import GLib

    codec, path = bare
    running = pipeline(
        f"filesrc location={path} ! qtdemux ! {codec}parse ! nnrinsert name=i "
        f"location={networks}/base.nnc ! nnr{codec}decodebin "
        "! appsink name=out sync=false max-buffers=1"
    )
    seen = [numbers(running.pull()) for _ in range(5)]
    update = GLib.Bytes.new((networks / "update40.nnc").read_bytes())
    assert running["i"].emit("update", update)
    seen += [numbers(f) for f in running.frames()]
    assert [number for number, _ in seen] == list(range(60))
    lifts = [lift for _, lift in seen]
    change = lifts.index(40)
    assert 5 <= change < 30
    assert lifts == [20] * change + [40] * (60 - change)


@pytest.mark.parametrize("muxer", ["mp4mux", "matroskamux", "mpegtsmux"])
def test_inserted_films_are_read_by_others(bare, networks, launch, tmp_path, muxer):
    codec, path = bare
    suffix = {"mp4mux": "mp4", "matroskamux": "mkv", "mpegtsmux": "ts"}[muxer]
    output = tmp_path / f"out.{suffix}"
    launch(
        "gst-launch-1.0", "-q", "filesrc", f"location={path}", "!", "qtdemux", "!",
        f"{codec}parse", "!", "nnrinsert", f"location={networks}/base.nnc", "nnpfc-id=130", "!",
        f"{codec}parse", "!", muxer, "!", "filesink", f"location={output}",
    )  # fmt: skip
    report = probe(output)
    assert [network.nnpfc_id for network in report.networks] == [130]
    assert report.networks[0].sha256 == probe_sha(networks / "base.nnc")
    assert len(report.activations) == 3


def probe_sha(path):
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([], "location is not set"),
        (["location=/nonexistent.nnc"], "/nonexistent.nnc cannot be read"),
        (["location=/dev/null"], "is not a network"),
        (["location=BASE", "nnpfc-id=20"], "nnpfc_id 20"),
        (["location=BASE", "updates=soon"], "updates reads SECONDS=FILE"),
        (["location=BASE", "updates=1=/nonexistent.nnc"], "/nonexistent.nnc cannot be read"),
    ],
)
def test_bad_settings_of_the_inserter(bare, networks, launch, settings, words):
    codec, path = bare
    failed = launch(
        "gst-launch-1.0", "filesrc", f"location={path}", "!", "qtdemux", "!", f"{codec}parse", "!",
        "nnrinsert", *[s.replace("BASE", str(networks / "base.nnc")) for s in settings], "!",
        "fakesink", check=False,
    )  # fmt: skip
    assert failed.returncode
    assert words in failed.stderr


# -- live ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS)
def test_live_transport_stream_with_loss(
    numbered_clip, networks, pipeline, numbers, gst, tmp_path, codec
):
    """UDP on the loopback; one datagram in forty lost, and one of a network for certain.

    The picture never stops, and where sequences arrive whole again so do their networks.
    """
    path = numbered_clip(tmp_path / "noisy.mp4", CODECS[codec], 125, noise=True, crf="8")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    receiver = pipeline(
        f"udpsrc port={port} address=127.0.0.1 caps=video/mpegts ! tsdemux latency=50 "
        f"! {codec}parse ! nnr{codec}decodebin ! video/x-raw,width=192 "
        "! appsink name=out sync=false",
        state=None,
    )
    receiver.start()
    sender = pipeline(
        f"filesrc location={path} ! qtdemux ! {codec}parse config-interval=-1 "
        f"! nnrinsert location={networks}/base.nnc updates=1.2={networks}/update40.nnc "
        "! mpegtsmux alignment=7 ! identity name=i sync=true "
        f"! udpsink host=127.0.0.1 port={port} sync=false",
        state=None,
    )
    sent, lost, networks_lost = [], [], []

    def lose(pad, info):
        buffer = info.get_buffer()
        data = buffer.extract_dup(0, buffer.get_size())
        sent.append(len(data))
        seconds = (buffer.pts - start) / SECOND
        if not 0.9 < seconds < 3.1:
            return gst.PadProbeReturn.OK
        hit = not networks_lost and b"\xd2\xff" in data
        if hit or len(sent) % 40 == 0:
            lost.append(seconds)
            networks_lost.extend([seconds] * hit)
            return gst.PadProbeReturn.DROP
        return gst.PadProbeReturn.OK

    start = 80_000_000
    sender["i"].get_static_pad("src").add_probe(gst.PadProbeType.BUFFER, lose)
    sender.start()
    frames = []
    while (frame := receiver.pull(2 * SECOND, quiet=True)) is not None:
        frames.append(frame)
    sender.check()
    assert networks_lost
    assert len(lost) > 1
    assert len(frames) >= 90
    gaps = [b.pts - a.pts for a, b in pairwise(frames)]
    assert min(gaps) >= 0
    assert max(gaps) <= 1.2 * SECOND  # what the decoder does not show after a loss
    # Nothing was lost of the last sequence, whose end stays in the decoder.
    last, _ = numbers(frames[-1])
    assert last >= 115
    shown = [numbers(f) for f in frames[100 - last - 1 :]]
    assert shown == [(n, 40) for n in range(100, last + 1)]
