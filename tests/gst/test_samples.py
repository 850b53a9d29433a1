# SPDX-License-Identifier: Apache-2.0
"""The sample uses of README: files, players, live streams, the sending side."""

import random
import re
import shutil
import signal
import socket
import subprocess
from itertools import count, pairwise
from pathlib import Path

import pytest

from nnrvideo.authoring import embed, probe
from nnrvideo.container import open_media

SECOND = 1_000_000_000
DECODERS = {"avdec_h264": "h264", "libde265dec": "h265", "av1dec": "av1"}


@pytest.fixture(scope="module", params=["h264", "h265", "av1"])
def bare(request, numbered_clip, tmp_path_factory):
    """Codec and a film of 60 pictures without a network, three key frames."""
    path = tmp_path_factory.mktemp("bare") / "bare.mp4"
    return request.param, numbered_clip(path, request.param, 60)


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


@pytest.mark.parametrize("decoder", [*DECODERS, "nonsense", "x264enc"])
def test_base_decoder(film, pipeline, decoder):
    codec, path = film
    running = pipeline(
        f"filesrc location={path} ! qtdemux ! {codec}parse ! nnr{codec}decodebin "
        f"base-decoder={decoder} ! appsink name=out sync=false",
        state=None,
    )
    if DECODERS.get(decoder) == codec:
        running.start()
        assert len(running.frames()) == 60
    else:
        words = "no element 'nonsense'" if decoder == "nonsense" else f"{decoder} does not fit"
        assert words in running.failure()


# -- the sending side ----------------------------------------------------------------------------


@pytest.mark.parametrize("framing", [0, 1])
def test_insert_with_updates(bare, networks, pipeline, numbers, framing):
    codec, path = bare
    caps = {
        "h264": ("stream-format={avc3,avc}", "stream-format=byte-stream"),
        "h265": ("stream-format={hev1,hvc1}", "stream-format=byte-stream"),
        "av1": ("alignment=tu", "alignment=frame"),
    }[codec][framing]
    running = pipeline(
        f"filesrc location={path} ! qtdemux ! {codec}parse ! video/x-{codec},{caps} "
        f'! nnrinsert name=i location={networks}/base.nnc updates="0.68={networks}/update40.nnc,'
        f'1.48={networks}/update-30.nnc" ! nnr{codec}decodebin ! appsink name=out sync=false'
    )
    seen = [numbers(f) for f in running.frames()]
    assert seen == [(n, 20 if n < 17 else 40 if n < 37 else -30) for n in range(60)]
    stats = running["i"].get_property("stats")
    with_hidden_ones = (codec, framing) == ("av1", 1)
    assert stats.get_value("access-units") - 60 in (range(20, 60) if with_hidden_ones else [0])
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
    assert not running["i"].emit("update", GLib.Bytes.new(b"no network"))
    (warning,) = running.warnings()
    assert "the update is not sent" in warning
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
    if (codec, muxer) == ("av1", "mpegtsmux"):
        muxer = "webmmux"  # GStreamer has no AV1 in MPEG-TS, and we neither
    suffix = {"mp4mux": "mp4", "matroskamux": "mkv", "mpegtsmux": "ts", "webmmux": "webm"}[muxer]
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
        (["location=BASE", "updates=1=/dev/null"], "/dev/null is not an update of"),
    ],
)
def test_bad_settings_of_the_inserter(bare, networks, pipeline, settings, words):
    codec, path = bare
    given = " ".join(settings).replace("BASE", str(networks / "base.nnc"))
    failing = pipeline(
        f"filesrc location={path} ! qtdemux ! {codec}parse ! nnrinsert {given} ! fakesink",
        state=None,
    )
    assert words in failing.failure()


# -- live ----------------------------------------------------------------------------------------


START = 80_000_000  # ns, timestamp of the first picture in the transport stream


@pytest.fixture
def received(numbered_clip, networks, pipeline, gst, tmp_path):
    """Function that sends 125 pictures by UDP on the loopback, and returns those that arrive.

    An update comes with picture 30; ``lose`` says of each datagram, by its number, content and
    seconds, whether it is lost.
    """

    def receive(codec, lose):
        path = numbered_clip(tmp_path / "noisy.mp4", codec, 125, noise=True, crf="8")
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
        numbers = count()

        def filter_datagram(_pad, info):
            buffer = info.get_buffer()
            data = buffer.extract_dup(0, buffer.get_size())
            lost = lose(next(numbers), data, (buffer.pts - START) / SECOND)
            return gst.PadProbeReturn.DROP if lost else gst.PadProbeReturn.OK

        sender["i"].get_static_pad("src").add_probe(gst.PadProbeType.BUFFER, filter_datagram)
        sender.start()
        frames = []
        while (frame := receiver.pull(2 * SECOND, quiet=True)) is not None:
            frames.append(frame)
        sender.check()
        gaps = [b.pts - a.pts for a, b in pairwise(frames)]
        assert min(gaps) >= 0
        assert max(gaps) <= 1.2 * SECOND  # what the decoder does not show after a loss
        return frames

    return receive


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_live_transport_stream_with_loss(received, numbers, codec):
    """One datagram in forty lost for two seconds, and one of a network for certain.

    The picture never stops, and where sequences arrive whole again so do their networks.
    """
    lost, networks_lost = [], []

    def lose(number, data, seconds):
        if not 0.9 < seconds < 3.1:
            return False
        hit = not networks_lost and b"\xd2\xff" in data
        networks_lost.extend([seconds] * hit)
        lost.extend([seconds] * (hit or number % 40 == 0))
        return hit or number % 40 == 0

    frames = received(codec, lose)
    assert networks_lost
    assert len(lost) > 1
    assert len(frames) >= 90
    # Nothing was lost of the last sequence, whose end stays in the decoder.
    last, _ = numbers(frames[-1])
    assert last >= 115
    shown = [numbers(f) for f in frames[100 - last - 1 :]]
    assert shown == [(n, 40) for n in range(100, last + 1)]


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_one_datagram_in_a_hundred_lost_at_random(received, numbers, codec):
    """All the time; each sequence that arrives whole is shown whole, with its network.

    But for the first one, in which the network is still being made.
    """
    generator, lost = random.Random(19), []  # hits some sequences and spares others

    def lose(number, data, seconds):
        hit = number > 0 and generator.random() < 0.01
        lost.extend([seconds] * hit)
        return hit

    frames = received(codec, lose)
    assert lost
    assert len(frames) >= 75
    seen = {numbers(f) for f in frames}
    whole = [s for s in range(1, 5) if not any(s - 0.3 < time < s + 1.3 for time in lost)]
    assert whole, lost
    for number in (n for s in whole for n in range(25 * s, 25 * s + 25) if n < 115):
        assert (number, 20 if number < 30 else 40) in seen


# -- the lines of README -------------------------------------------------------------------------


def readme_lines():
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    section = text.split("### In GStreamer")[1].split("\n## ")[0]
    return re.findall(r"^((?:GST_\S+ )?gst-launch-1\.0 .+)$", section, re.MULTILINE)


@pytest.fixture(scope="module")
def readme_folder(numbered_clip, lifter, networks, tmp_path_factory):
    """The files that README speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    numbered_clip(folder / "film.mp4", "h264", 50)
    numbered_clip(folder / "hevc.mp4", "h265", 50)
    embed(folder / "hevc.mp4", folder / "coded.mp4", lifter.base(20))
    shutil.copy(networks / "base.nnc", folder / "net.nnc")
    shutil.copy(networks / "update40.nnc", folder / "update.nnc")
    return folder


def runnable(line, folder, port=5004):
    for name in ("autovideosink", "playbin "):
        sink = "fakesink" if name == "autovideosink" else "playbin video-sink=fakesink "
        line = line.replace(name, sink)
    line = line.replace("port=5004", f"port={port}").replace(
        "is-live=true", "is-live=true num-buffers=60"
    )
    return ["/bin/sh", "-c", f"cd {folder} && exec env {line}"]


FILE_LINES = [line for line in readme_lines() if "udp" not in line]


def test_readme_has_all_samples():
    assert len(FILE_LINES) == 5
    assert len(readme_lines()) == 7


@pytest.mark.parametrize("line", FILE_LINES)
def test_line_of_readme(line, launch, readme_folder):
    said = launch(*runnable(line, readme_folder))
    assert "ERROR" not in said.stderr
    assert "WARNING" not in said.stderr
    written = re.search(r"filesink location=(\S+)", line)
    if written:
        with open_media(readme_folder / written[1]) as media:
            assert len(list(media.pictures())) == 50
            size = media.video.width, media.video.height
        assert size == ((192, 128) if written[1] == "better.mp4" else (96, 64))
    if written and written[1] == "out.mp4":
        report = probe(readme_folder / "out.mp4")
        assert sorted(n.is_base for n in report.networks) == [False, True]


def test_live_lines_of_readme(gst_environment, launch, readme_folder):
    sender, receiver = (line for line in readme_lines() if "udp" in line)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listening = subprocess.Popen(
        [*runnable(receiver.replace("gst-launch-1.0", "gst-launch-1.0 -m"), readme_folder, port)],
        env=gst_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        launch(*runnable(sender, readme_folder, port))
    finally:
        listening.send_signal(signal.SIGINT)
        said, _ = listening.communicate(timeout=30)
    assert "nnrvideo-network-changed" in said
    assert "ERROR" not in said
