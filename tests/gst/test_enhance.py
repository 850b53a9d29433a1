# SPDX-License-Identifier: Apache-2.0
"""``nnrenhance`` in a pipeline: caps, strides, events, queries, properties, lateness."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from nnrvideo.authoring import embed
from nnrvideo.sei import PURPOSE_BIT_DEPTH

SECOND = 1_000_000_000
DECODERS = {"h264": "avdec_h264", "h265": "avdec_h265", "av1": "av1dec"}
SOURCE = (
    "videotestsrc pattern=circular num-buffers=3 ! video/x-raw,width=96,height=64,framerate=25/1"
)


@pytest.fixture(scope="module")
def networks(lifter, tmp_path_factory):
    """Files of networks for model-file."""
    folder = tmp_path_factory.mktemp("networks")
    for lift in (20, 40):
        (folder / f"lift{lift}.nnc").write_bytes(lifter.bitstream(lift))
    return folder


@pytest.fixture(scope="module")
def bare(numbered_clip, tmp_path_factory):
    return numbered_clip(tmp_path_factory.mktemp("bare") / "bare.mp4", "h264", 40)


@pytest.fixture(scope="module")
def film(bare, lifter):
    """40 pictures, a network from picture 10 on."""
    path = bare.with_name("film.mp4")
    embed(bare, path, lifter.base(20), start=Fraction(10, 25))
    return path


def decoded(path, rest, codec="h264"):
    return (
        f"filesrc location={path} ! qtdemux ! {codec}parse ! nnrextract ! {DECODERS[codec]} {rest} "
        "! appsink name=out sync=false"
    )


# -- samples -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "planar"),
    [
        ("YV12", "I420"),
        ("NV12", "I420"),
        ("NV21", "I420"),
        ("Y42B", "Y42B"),
        ("Y444", "Y444"),
        ("GRAY8", "GRAY8"),
        ("P010_10LE", "I420_10LE"),
        ("I422_10LE", "I422_10LE"),
        ("Y444_10LE", "Y444_10LE"),
        ("I420_12LE", "I420_12LE"),
        ("I422_12LE", "I422_12LE"),
        ("Y444_12LE", "Y444_12LE"),
    ],
)
def test_every_format_is_enhanced_alike(pipeline, networks, name, planar):
    """The network sees the same samples however they are stored."""
    source = f"{SOURCE} ! videoconvert ! video/x-raw,format={planar} ! tee name=t"
    running = pipeline(
        f"{source} t. ! queue ! videoconvert dither=none ! video/x-raw,format={name} "
        f"! nnrenhance model-file={networks}/lift20.nnc ! videoconvert dither=none "
        f"! video/x-raw,format={planar} ! appsink name=out sync=false "
        f"t. ! queue ! nnrenhance model-file={networks}/lift20.nnc "
        "! appsink name=other sync=false",
    )
    frames = running.frames()
    running.sink = running["other"]
    others = running.frames()
    assert len(frames) == len(others) == 3
    for frame, other in zip(frames, others, strict=True):
        assert frame.size == other.size == (192, 128)
        assert frame.data == other.data


@pytest.mark.parametrize("size", [(94, 62), (33, 47), (98, 66)])
@pytest.mark.parametrize("name", ["I420", "NV12", "Y42B", "I420_10LE"])
def test_odd_sizes_pass_bit_identically(pipeline, size, name):
    width, height = size
    source = (
        f"videotestsrc pattern=snow num-buffers=2 ! video/x-raw,format={name},width={width},"
        f"height={height} ! tee name=t "
    )
    running = pipeline(
        source + "t. ! queue ! nnrenhance ! appsink name=out sync=false "
        "t. ! queue ! appsink name=other sync=false"
    )
    frames = running.frames()
    running.sink = running["other"]
    others = running.frames()
    assert [f.data for f in frames] == [f.data for f in others]
    assert [f.pts for f in frames] == [f.pts for f in others]


def test_decoder_strides_are_honoured(numbered_clip, pipeline, tmp_path):
    """Decoders pad rows when the element says that it reads GstVideoMeta."""
    import av

    path = tmp_path / "odd.mp4"
    with av.open(str(path), "w") as sink:
        stream = sink.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 58, "yuv420p"
        for index in range(5):
            noise = np.random.default_rng(index).integers(0, 255, (87, 90), np.uint8)
            frame = av.VideoFrame.from_ndarray(noise, format="yuv420p")
            frame.pts = index
            sink.mux(stream.encode(frame))
        sink.mux(stream.encode(None))
    with_element = pipeline(decoded(path, "! nnrenhance")).frames()
    without = pipeline(decoded(path, "")).frames()
    assert len(without) == 5
    assert [f.samples for f in with_element] == [f.samples for f in without]
    upscaled = pipeline(decoded(path, "! nnrenhance ! video/x-raw,width=180")).frames()
    again = pipeline(
        decoded(path, "! videoconvert ! video/x-raw,format=NV12 ! videoconvert "
        "! video/x-raw,format=I420 ! nnrenhance ! video/x-raw,width=180")
    ).frames()  # fmt: skip
    assert [f.samples for f in upscaled] == [f.samples for f in again]


@pytest.mark.parametrize("codec", DECODERS)
def test_without_a_network_nothing_changes(numbered_clip, pipeline, launch, tmp_path, codec):
    path = numbered_clip(tmp_path / "bare.mp4", codec, 30)
    for number, part in enumerate(("", "! nnrenhance")):
        launch(
            "gst-launch-1.0", "-q", *decoded(path, part, codec).replace(
                "appsink name=out sync=false", f"filesink location={tmp_path}/{number}.yuv"
            ).split(),
        )  # fmt: skip
    assert (tmp_path / "0.yuv").read_bytes() == (tmp_path / "1.yuv").read_bytes()
    coded = f"filesrc location={path} ! qtdemux ! {codec}parse ! tee name=t "
    running = pipeline(
        coded + "t. ! queue ! nnrextract ! appsink name=out sync=false "
        "t. ! queue ! appsink name=other sync=false"
    )
    access_units = [f.data for f in running.frames()]
    running.sink = running["other"]
    assert access_units == [f.data for f in running.frames()]


def test_network_of_the_stream_can_be_stripped_on_the_way(film, bare, pipeline):
    def units(path, rest):
        return pipeline(
            f"filesrc location={path} ! qtdemux ! h264parse ! {rest} ! appsink name=out sync=false"
        ).frames()

    stripped = units(film, "nnrextract strip=true")
    assert [f.data for f in stripped] == [f.data for f in units(bare, "identity")]


# -- caps ----------------------------------------------------------------------------------------


def test_fixed_geometry_is_that_of_the_first_network(film, pipeline, numbers):
    frames = pipeline(decoded(film, "! nnrenhance")).frames()
    assert {f.size for f in frames} == {(192, 128)}
    assert [numbers(f) for f in frames] == [(n, 20 if n >= 10 else 0) for n in range(40)]


def test_dynamic_geometry_follows_the_network(film, pipeline, numbers):
    frames = pipeline(decoded(film, "! nnrenhance scale-policy=dynamic")).frames()
    assert [f.size for f in frames] == [(96, 64)] * 10 + [(192, 128)] * 30
    assert [numbers(f) for f in frames] == [(n, 20 if n >= 10 else 0) for n in range(40)]


@pytest.mark.parametrize("wanted", [(144, 96), (300, 120), (96, 64)])
def test_downstream_decides_on_the_size(film, pipeline, wanted):
    width, height = wanted
    caps = f"video/x-raw,width={width},height={height}"
    frames = pipeline(decoded(film, f"! nnrenhance ! {caps}")).frames()
    assert {f.size for f in frames} == {wanted}
    aspect = frames[0].caps.get_structure(0).get_value("pixel-aspect-ratio")
    assert width * aspect.num / (height * aspect.denom) == pytest.approx(96 / 64)


@pytest.mark.parametrize("wanted", ["I420", "I420_10LE"])
def test_network_that_deepens_samples(bare, pipeline, lifter, tmp_path, wanted):
    """Ten bits come out of eight, unless downstream takes eight only."""
    base = lifter.base(20)
    deeper = replace(base, nnpfc_purpose=base.nnpfc_purpose | PURPOSE_BIT_DEPTH)
    embed(bare, tmp_path / "film.mp4", deeper)
    caps = "! video/x-raw,format=I420 " if wanted == "I420" else ""
    frames = pipeline(decoded(tmp_path / "film.mp4", f"! nnrenhance {caps}")).frames()
    assert len(frames) == 40
    for frame in frames:
        assert frame.caps.get_structure(0).get_value("format") == wanted
        kind, scale = (np.uint8, 1) if wanted == "I420" else ("<u2", 4)
        luma = np.frombuffer(frame.data, kind, 192 * 128)[: 192 * 16]
        assert abs(np.median(luma) / scale - 130) < 1.5


def test_caps_keep_what_is_not_changed(pipeline, networks):
    running = pipeline(
        "videotestsrc num-buffers=1 ! video/x-raw,format=I420,width=96,height=64,"
        "framerate=30000/1001,pixel-aspect-ratio=4/3,colorimetry=bt601,chroma-site=mpeg2,"
        f"interlace-mode=progressive ! nnrenhance model-file={networks}/lift20.nnc "
        "! appsink name=out sync=false"
    )
    (frame,) = running.frames()
    text = frame.caps.to_string()
    for part in ("30000/1001", "=(fraction)4/3", "bt601", "mpeg2", "progressive", "width=(int)192"):
        assert part in text


def test_input_that_changes_in_mid_stream(gst, pipeline, networks):
    """The size changes twice; the output keeps its own, each picture is enhanced."""
    running = pipeline(
        f"appsrc name=in format=time ! nnrenhance name=e model-file={networks}/lift20.nnc "
        "! appsink name=out sync=false",
        state=None,
    )
    running.start()
    source = running["in"]
    for index, (width, height) in enumerate([(96, 64), (64, 64), (128, 32)]):
        caps = gst.Caps.from_string(
            f"video/x-raw,format=I420,width={width},height={height},framerate=25/1"
        )
        source.set_property("caps", caps)
        buffer = gst.Buffer.new_wrapped(bytes([100]) * (width * height * 3 // 2))
        buffer.pts = index * SECOND // 25
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    frames = running.frames()
    assert [f.size for f in frames] == [(192, 128)] * 3
    assert [int(f.luma[5, 5]) for f in frames] == [120] * 3


@pytest.mark.parametrize("name", ["I420", "NV12", "I420_10LE", "P010_10LE"])
def test_downstream_that_changes_its_mind_in_mid_stream(gst, pipeline, networks, name):
    """Another size, then the first again; pictures are made in buffers of the size of the day."""
    running = pipeline(
        f"appsrc name=in format=time caps=video/x-raw,format={name},width=96,height=64,"
        f"framerate=25/1 ! nnrenhance name=e model-file={networks}/lift20.nnc "
        "! capsfilter name=wanted ! videoconvert ! video/x-raw,format=I420 "
        "! appsink name=out sync=false",
        state=None,
    )
    running.start()
    sizes = [(192, 128), (192, 128), (128, 96), (128, 96), (192, 128), (192, 128), (192, 128)]
    frames = []
    for index, (width, height) in enumerate(sizes):
        caps = gst.Caps.from_string(f"video/x-raw,width={width},height={height}")
        running["wanted"].set_property("caps", caps)
        depth = 10 if "10" in name else 8
        sample = 100 << (depth - 8) << (6 if name == "P010_10LE" else 0)
        size = 96 * 64 * 3 // 2
        plane = np.full(size, sample, np.uint8 if depth == 8 else "<u2").tobytes()
        buffer = gst.Buffer.new_wrapped(plane)
        buffer.pts = index * SECOND // 25
        running["in"].emit("push-buffer", buffer)
        frames.append(running.pull())
    running["in"].emit("end-of-stream")
    assert [f.size for f in frames] == sizes
    assert [int(f.luma[5, 5]) for f in frames] == [120] * len(sizes)
    assert running["e"].get_property("stats").get_value("enhanced") == len(sizes)


def test_buffers_that_are_kept_downstream_stay_as_they_are(pipeline, networks, gst):
    """Memory of the pool is written again only when nobody holds it any more."""
    running = pipeline(
        f"videotestsrc pattern=snow num-buffers=12 ! video/x-raw,format=I420,width=96,height=64 "
        f"! nnrenhance model-file={networks}/lift20.nnc ! appsink name=out sync=false"
    )
    kept = []
    while (sample := running.sink.emit("try-pull-sample", 20 * SECOND)) is not None:
        buffer = sample.get_buffer()
        kept.append((buffer, buffer.extract_dup(0, buffer.get_size())))
    assert len(kept) == 12
    assert all(buffer.extract_dup(0, buffer.get_size()) == data for buffer, data in kept)
    assert len({data for _, data in kept}) == 12


def test_pictures_of_vp9_by_a_network_of_ones_own(pipeline, networks):
    running = pipeline(
        f"{SOURCE} ! vp9enc deadline=1 ! vp9dec ! nnrenhance name=e "
        f"model-file={networks}/lift20.nnc ! appsink name=out sync=false"
    )
    assert [f.size for f in running.frames()] == [(192, 128)] * 3
    assert running["e"].get_property("stats").get_value("enhanced") == 3


@pytest.mark.parametrize("format_name", ["RGB", "UYVY", "AYUV64"])
def test_other_formats_do_not_link(launch, format_name):
    failed = launch(
        "gst-launch-1.0", "videotestsrc", "num-buffers=1", "!",
        f"video/x-raw,format={format_name}", "!", "nnrenhance", "!", "fakesink", check=False,
    )  # fmt: skip
    assert "nnrenhance" in failed.stderr
    assert failed.returncode


@pytest.mark.parametrize(
    "coded",
    [
        "video/x-vp8",
        "video/x-vp9",
        "video/x-h266",
        "video/x-av1,stream-format=annexb,alignment=tu",
        "video/x-av1,stream-format=obu-stream,alignment=obu",
    ],
)
@pytest.mark.parametrize("element", ["nnrextract", "nnrinsert", "nnrav1decodebin"])
def test_other_codecs_do_not_link(gst, element, coded):
    made = gst.ElementFactory.make(element)
    assert not made.get_static_pad("sink").query_accept_caps(gst.Caps.from_string(coded))


# -- events, queries, states ---------------------------------------------------------------------


def test_eos_and_gap_without_a_picture(pipeline, gst):
    running = pipeline(
        "appsrc name=in format=time ! nnrenhance ! appsink name=out sync=false", state=None
    )
    running.start()
    running["in"].emit("end-of-stream")
    assert running.frames() == []


def test_gaps_pass_in_their_place(gst, pipeline, networks):
    """Before the first picture, where caps must be agreed on without one, and between pictures."""
    running = pipeline(
        "appsrc name=in format=time caps=video/x-raw,format=I420,width=96,height=64,framerate=25/1 "
        f"! nnrenhance name=e model-file={networks}/lift20.nnc ! video/x-raw,width=192,height=128 "
        "! appsink name=out sync=false",
        state=None,
    )
    passed = []

    def note(_pad, info):
        if info.type & gst.PadProbeType.BUFFER:
            passed.append(info.get_buffer().pts)
        elif info.get_event().type in (gst.EventType.CAPS, gst.EventType.GAP):
            passed.append(info.get_event().type.value_nick)
        return gst.PadProbeReturn.OK

    both = gst.PadProbeType.BUFFER | gst.PadProbeType.EVENT_DOWNSTREAM
    running["e"].get_static_pad("src").add_probe(both, note)
    running.start()
    for index in range(4):
        if index % 2 == 0:
            gap = gst.Event.new_gap(index * SECOND // 25, SECOND // 25)
            assert running["in"].send_event(gap)
        else:
            buffer = gst.Buffer.new_wrapped(bytes([100]) * (96 * 64 * 3 // 2))
            buffer.pts = index * SECOND // 25
            running["in"].emit("push-buffer", buffer)
    running["in"].emit("end-of-stream")
    frames = running.frames()
    assert [int(f.luma[5, 5]) for f in frames] == [120, 120]
    assert passed == ["caps", "gap", SECOND // 25, "gap", 3 * SECOND // 25]


def test_pause_and_restart(pipeline, networks):
    running = pipeline(
        f"{SOURCE} ! nnrenhance model-file={networks}/lift20.nnc ! appsink name=out sync=false",
        state="PAUSED",
    )
    for _ in range(3):
        running.set_state("PLAYING")
        running.set_state("PAUSED")
    first = running.pull()
    for state in ("READY", "NULL"):
        running.set_state(state)
        running.set_state("PLAYING")
        frames = running.frames()
        assert len(frames) == 3
        assert frames[0].data == first.data


def test_playing_backwards_is_refused(film, pipeline):
    running = pipeline(decoded(film, "! nnrenhance"), state="PAUSED")
    assert not running.seek(SECOND, rate=-1.0)
    assert running.seek(0, rate=2.0)


def test_latency_is_reported(pipeline, gst, networks):
    running = pipeline(
        "videotestsrc is-live=true num-buffers=10 ! video/x-raw,format=I420,width=96,height=64,"
        f"framerate=25/1 ! nnrenhance name=e deadline=0.5 model-file={networks}/lift20.nnc "
        "! appsink name=out sync=false"
    )
    running.pull()
    query = gst.Query.new_latency()
    assert running["e"].get_static_pad("src").query(query)
    live, shortest, _ = query.parse_latency()
    assert live
    assert shortest == SECOND // 25 + SECOND // 50  # the source's own picture, and half of one
    assert len(running.frames()) == 9


def test_enabled_while_playing(film, pipeline, numbers):
    running = pipeline(decoded(film, "! nnrenhance name=e").replace(
        "appsink", "appsink max-buffers=1"), state="PLAYING")  # fmt: skip
    seen = []
    while (frame := running.pull()) is not None:
        seen.append(numbers(frame))
        running["e"].set_property("enabled", not 15 <= len(seen) < 25)
    assert [number for number, _ in seen] == list(range(40))
    assert [lift for _, lift in seen[10:14]] == [20] * 4
    assert [lift for _, lift in seen[19:25]] == [0] * 6
    assert [lift for _, lift in seen[30:]] == [20] * 10


def test_modes(film, pipeline, numbers):
    def lifts(settings):
        return [numbers(f)[1] for f in pipeline(decoded(film, f"! nnrenhance {settings}")).frames()]

    as_signalled = [0] * 10 + [20] * 30
    assert lifts("mode=auto") == lifts("mode=network") == as_signalled
    assert lifts("mode=plain") == lifts("enabled=false") == lifts("mode=off") == [0] * 40


@pytest.mark.parametrize("settings", ["mode=off", "scale-policy=dynamic enabled=false"])
def test_untouched_only_as_far_as_downstream_allows(film, pipeline, numbers, settings):
    frames = pipeline(decoded(film, f"! nnrenhance {settings} ! video/x-raw,width=192")).frames()
    assert {f.size for f in frames} == {(192, 64)}  # caps that say nothing of the height
    frames = pipeline(
        decoded(film, f"! nnrenhance {settings} ! video/x-raw,width=192,height=128")
    ).frames()
    assert [numbers(f) for f in frames] == [(n, 0) for n in range(40)]


def test_mode_while_playing(film, pipeline):
    running = pipeline(decoded(film, "! nnrenhance name=e").replace(
        "appsink", "appsink max-buffers=1"))  # fmt: skip
    running.pull()
    running["e"].set_property("mode", "nonsense")
    assert len(running.frames()) == 39
    (warning,) = running.warnings()
    assert "mode cannot be 'nonsense'" in warning
    assert "stays auto" in warning
    assert running["e"].get_property("stats").get_value("enhanced") == 30


def test_stats_and_messages(film, pipeline):
    running = pipeline(decoded(film, "! nnrenhance name=e"))
    running.frames()
    stats = running["e"].get_property("stats")
    found = {name: stats.get_value(name) for name in ("frames", "enhanced", "plain", "late")}
    assert found == {"frames": 40, "enhanced": 30, "plain": 10, "late": 0}
    assert stats.get_value("networks-built") == 1
    assert stats.get_value("provider") == "CPUExecutionProvider"
    (said,) = running.said("nnrvideo-network-changed")
    assert (said["nnpfc-id"], said["active"]) == (7, True)
    assert said["running-time"] == 400_000_000
    assert running["e"].get_property("network-id") == 7
    assert running["e"].get_property("active")


def test_debug_category(film, launch):
    chain = decoded(film, "! nnrenhance").replace("appsink name=out", "fakesink")
    said = launch(
        "gst-launch-1.0", "-q", *chain.split(), GST_DEBUG="nnrvideo:5", GST_DEBUG_NO_COLOR="1"
    ).stderr
    assert " nnrvideo " in said
    assert "enhancing as long as it takes" in said


@pytest.mark.parametrize(
    "chain",
    ["nnrh264decodebin", "nnrextract ! avdec_h264 ! nnrenhance", "nnrinsert location=NET"],
)
def test_nothing_leaks(film, launch, networks, chain):
    chain = chain.replace("NET", f"{networks}/lift20.nnc")
    said = launch(
        "gst-launch-1.0", "-q", "filesrc", f"location={film}", "!", "qtdemux", "!", "h264parse",
        "!", *chain.split(), "!", "fakesink",
        GST_TRACERS="leaks", GST_DEBUG="GST_TRACER:7", GST_DEBUG_NO_COLOR="1",
    ).stderr  # fmt: skip
    alive = [line for line in said.splitlines() if "object-alive, " in line]
    assert "GST_TRACER" in said
    assert not [line for line in alive if "type-name=(string)%s" not in line]


# -- lateness ------------------------------------------------------------------------------------


def test_late_pictures_are_upscaled_plainly_and_none_is_lost(pipeline, gst, slow_network):
    running = pipeline(
        "videotestsrc num-buffers=60 ! video/x-raw,format=I420,width=320,height=240,framerate=60/1 "
        "! identity name=up silent=false "
        f"! nnrenhance name=e threads=1 model-file={slow_network} ! identity name=down "
        "! fakesink sync=true qos=true name=sink",
        state=None,
    )
    upstream, counted = [], []

    def on_event(pad, info):
        if info.get_event().type == gst.EventType.QOS:
            upstream.append(1)
        return gst.PadProbeReturn.OK

    def on_buffer(pad, info):
        counted.append(info.get_buffer().pts)
        return gst.PadProbeReturn.OK

    running["up"].get_static_pad("src").add_probe(gst.PadProbeType.EVENT_UPSTREAM, on_event)
    running["down"].get_static_pad("src").add_probe(gst.PadProbeType.BUFFER, on_buffer)
    running.set_state("PLAYING")
    message = running.bus.timed_pop_filtered(
        30 * SECOND, gst.MessageType.EOS | gst.MessageType.ERROR
    )
    assert message.type == gst.MessageType.EOS
    stats = running["e"].get_property("stats")
    assert len(counted) == 60
    assert counted == sorted(counted)
    assert stats.get_value("frames") == 60
    assert stats.get_value("late") > 0
    assert stats.get_value("enhanced") > 0
    assert stats.get_value("enhanced") + stats.get_value("plain") == 60
    assert not upstream


def test_without_a_network_lateness_is_the_decoders_business(pipeline, gst):
    """There is nothing to save here, so that QoS events go on to whoever can drop pictures."""
    running = pipeline(
        "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=96,height=64,framerate=25/1 "
        "! identity name=up ! nnrenhance name=e ! identity name=down ! fakesink sync=false",
        state=None,
    )
    passed = []

    def on_event(pad, info):
        if info.get_event().type == gst.EventType.QOS:
            passed.append(info.get_event().parse_qos()[2])
        return gst.PadProbeReturn.OK

    running["up"].get_static_pad("src").add_probe(gst.PadProbeType.EVENT_UPSTREAM, on_event)
    running.set_state("PAUSED")
    late = gst.Event.new_qos(gst.QOSType.UNDERFLOW, 2.0, SECOND, 0)
    running["down"].get_static_pad("sink").push_event(late)
    assert passed == [SECOND]
    assert running["e"].get_property("stats").get_value("late") == 0


def test_mode_network_is_never_late(pipeline, gst, slow_network):
    running = pipeline(
        "videotestsrc num-buffers=6 ! video/x-raw,format=I420,width=320,height=240,framerate=60/1 "
        f"! nnrenhance name=e threads=1 mode=network model-file={slow_network} "
        "! fakesink sync=true qos=true"
    )
    running.bus.timed_pop_filtered(30 * SECOND, gst.MessageType.EOS)
    assert running["e"].get_property("stats").get_value("enhanced") == 6


def test_lateness_follows_the_sink():
    from nnrvideo.gst.lateness import Lateness

    late = Lateness()
    assert not late.is_late(0)
    late.report(100, 30, 40)
    assert late.is_late(200)
    assert not late.is_late(201)
    assert not late.is_late(None)
    late.report(300, -50, 40)
    assert not late.is_late(260)
    late.report(300, 1, 40)
    late.reset()
    assert not late.is_late(0)


# -- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("mode=fast", "mode cannot be 'fast'; it is one of auto, network, plain, off"),
        ("upscaler=nearest", "upscaler cannot be 'nearest'"),
        ("scale-policy=any", "scale-policy cannot be 'any'"),
        ("execution-provider=Abacus", "execution-provider cannot be 'Abacus'"),
        ("model-file=/nonexistent.nnc", "/nonexistent.nnc cannot be read: No such file"),
        ("model-file=/dev/null", "is not a network"),
    ],
)
def test_bad_settings_are_errors_of_the_element(pipeline, settings, words):
    failing = pipeline(f"{SOURCE} ! nnrenhance {settings} ! fakesink", state=None)
    assert words in failing.failure()


def test_a_broken_configuration_costs_the_networks_only(pipeline, gst, film):
    running = pipeline("appsrc name=in format=time ! nnrextract ! appsink name=out", state=None)
    running.start()
    running["in"].set_property(
        "caps",
        gst.Caps.from_string("video/x-h264,stream-format=avc,alignment=au,codec_data=(buffer)01"),
    )
    running["in"].emit("push-buffer", gst.Buffer.new_wrapped(b"\x00\x00\x00\x01\x65"))
    running["in"].emit("end-of-stream")
    (access_unit,) = running.frames()
    assert access_unit.data == b"\x00\x00\x00\x01\x65"
    (warning,) = running.warnings()
    assert "no networks are read" in warning


def test_a_bad_network_costs_the_enhancement_and_a_warning(film, pipeline, lifter, tmp_path):
    broken = lifter.base(20)
    broken = replace(broken, nnpfc_payload_byte=broken.nnpfc_payload_byte[:-30])
    embed(film, tmp_path / "bad.mp4", broken)
    running = pipeline(decoded(tmp_path / "bad.mp4", "! nnrenhance"))
    assert len(running.frames()) == 40
    assert len(running.said("nnrvideo-network-rejected")) == 1
    (warning,) = running.warnings()
    assert "the picture is plain" in warning
