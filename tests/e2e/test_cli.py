# SPDX-License-Identifier: Apache-2.0
"""The command line on the sample clip: the main job, and one clear line for every bad input."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnrvideo.cli.exits import Exit
from nnrvideo.cli.main import main
from nnrvideo.container import open_media
from nnrvideo.data import NETWORK_NAMES, base_network

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "samples" / "bbb_sample.mp4"
FAST = ["-c:v", "libx264", "-preset", "ultrafast", "-q"]


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """Half a second of the sample clip with the shipped network inside, two key frames."""
    path = tmp_path_factory.mktemp("cli") / "coded.mp4"
    assert main(["encode", "-i", str(CLIP), "-t", "0.5", "-g", "6", *FAST, str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.nnc"
    path.write_bytes(base_network())
    return path


def save_onnx(path, nodes, weights, channels=1, out_channels=1):
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, out_channels, "H", "W"])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def run_onnx(path, inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: each[None]})[0] for each in inputs])


def fails(capsys, code, *arguments):
    """Runs a command that must fail; returns its one line."""
    assert main([str(a) for a in arguments]) == code
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith(f"nnrvideo {arguments[0]}: ")
    return lines[0]


# -- the main job --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORK_NAMES)
def test_encode_with_a_shipped_network_by_name(name, make_clip, tmp_path, capsys):
    clip, out = make_clip(tmp_path / "film.mp4", frames=4), tmp_path / "coded.mp4"
    arguments = ["encode", "-i", str(clip), str(out), "-n", name, *FAST]
    assert main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["source"] == [96, 64]
    assert facts["coded"] == ([48, 32] if name.startswith("sr2x") else [96, 64])
    assert facts["network_bytes"] == len(base_network(name))
    assert main(["probe", str(out), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["networks"]
    assert found["output_size"] == [96, 64]
    assert found["content"]["card"]["name"] == name
    assert main(["enhance", "-i", str(out), str(tmp_path / "shown.y4m"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["enhanced"] == 4


def test_a_network_that_is_neither_file_nor_shipped(make_clip, tmp_path, capsys):
    clip = make_clip(tmp_path / "film.mp4", frames=2)
    line = fails(capsys, 1, "encode", "-i", clip, tmp_path / "out.mp4", "-n", "sr3x")
    assert "there is no file sr3x, nor a shipped network: sr2x_luma" in line


def test_probe_tells_what_travels(coded, capsys):
    assert main(["probe", str(coded), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (found,) = report["networks"]
    assert found["payload_bytes"] == len(base_network())
    assert found["output_size"] == [1280, 720]
    assert len(found["occurrences"]) == 2
    assert [a["nnpfc_id"] for a in report["activations"]] == [7, 7]


def test_probe_prints_a_table(coded, capsys):
    assert main(["probe", str(coded)]) == 0
    out = capsys.readouterr().out
    assert "resolution resampling" in out
    assert "1280x720" in out


def test_probe_of_a_bitstream(network, capsys):
    assert main(["probe", str(network)]) == 0
    assert "stem.weight" in capsys.readouterr().out
    assert main(["probe", str(network), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] > 20_000


def test_extract_gives_the_same_bytes(coded, tmp_path, capsys):
    assert main(["extract", str(coded), "-o", str(tmp_path / "nets")]) == 0
    (file,) = (tmp_path / "nets").iterdir()
    assert file.read_bytes() == base_network()
    assert str(file) in capsys.readouterr().out


def test_strip_leaves_no_network(coded, tmp_path, capsys):
    assert main(["strip", "-i", str(coded), str(tmp_path / "bare.mkv"), "-q"]) == 0
    assert main(["probe", str(tmp_path / "bare.mkv")]) == 3
    assert "networks   none" in capsys.readouterr().out


def test_pack_and_unpack_keep_the_network(network, tmp_path, capsys):
    model, again = tmp_path / "net.onnx", tmp_path / "again.nnc"
    assert main(["unpack", str(network), "-o", str(model)]) == 0
    onnx.checker.check_model(str(model), full_check=True)
    assert main(["pack", str(model), "-o", str(again), "--lossless", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert facts["max_abs_error"] == 0
    assert main(["unpack", str(again), "-o", str(tmp_path / "again.onnx")]) == 0
    assert (tmp_path / "again.onnx").read_bytes() == model.read_bytes()


def test_unpack_with_the_weights_beside(network, tmp_path, capsys, monkeypatch):
    whole, beside, large = (tmp_path / f"{name}.onnx" for name in ("whole", "beside", "large"))
    assert main(["unpack", str(network), "-o", str(whole)]) == 0
    assert main(["unpack", str(network), "-o", str(beside), "--external-data"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].split(": ")[1] == told[1].split(": ")[1]
    assert beside.stat().st_size < 4096 < (tmp_path / "beside.onnx.data").stat().st_size
    # What reads a model with its weights beside it packs it, too.
    for path in (whole, beside):
        assert main(["pack", str(path), "-o", str(path.with_suffix(".nnc")), "--lossless"]) == 0
    packed = [path.with_suffix(".nnc").read_bytes() for path in (whole, beside)]
    assert packed[0] == packed[1]
    again = ["unpack", network, "-o", beside, "--external-data"]
    assert "exists already" in fails(capsys, Exit.USAGE, *again)
    npz = ["unpack", network, "-o", tmp_path / "net.npz", "--external-data"]
    assert "for .onnx" in fails(capsys, Exit.USAGE, *npz)
    monkeypatch.setattr("nnrvideo.model.topology._PROTOBUF_LIMIT", 1000)
    assert main(["unpack", str(network), "-o", str(large)]) == 0
    assert (tmp_path / "large.onnx.data").exists()
    update = ["unpack", "--base", str(whole.with_suffix(".nnc")), str(network), "-y"]
    assert main([*update, "-o", str(large)]) == 0
    assert len(list(tmp_path.iterdir())) == 7


def test_pack_folds_batch_normalisation(tmp_path, capsys):
    random = np.random.default_rng(6)
    weights = {"w": random.normal(0, 1, (4, 1, 3, 3)), "v": random.normal(0, 1, (1, 4, 1, 1))}
    weights |= {name: random.uniform(0.5, 2, 4) for name in ("gamma", "beta", "mean", "var")}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["y"]),
    ]
    model, coded = save_onnx(tmp_path / "net.onnx", nodes, weights), tmp_path / "net.nnc"
    for options, operators in (((), 3), (("--fold-bn",), 2), (("--fold-bn", "--layers", "5,3"), 2)):
        assert main(["pack", str(model), "-o", str(coded), "-y", *options, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["weight_snr_db"] > 20
        assert main(["unpack", str(coded), "-o", str(tmp_path / "back.onnx"), "-y", "-q"]) == 0
        assert len(onnx.load(tmp_path / "back.onnx").graph.node) == operators
    lossless = ["pack", model, "-o", coded, "-y", "--fold-bn", "--lossless"]
    assert "--fold-bn" in fails(capsys, Exit.USAGE, *lossless)


def test_pack_corrects_on_a_film_and_on_arrays(network, coded, tmp_path, capsys):
    model, packed = tmp_path / "net.onnx", tmp_path / "net.nnc"
    assert main(["unpack", str(network), "-o", str(model), "-q"]) == 0
    inputs = np.random.default_rng(3).random((2, 1, 40, 48), np.float32)
    np.save(tmp_path / "inputs.npy", inputs)
    start = ["pack", str(model), "-o", str(packed), "-y", "-q", "--bit-depth", "3"]
    wanted = run_onnx(model, inputs)
    errors = []
    for options in ([], ["--correct", str(coded)], ["--correct", str(tmp_path / "inputs.npy")]):
        assert main([*start, *options]) == 0
        assert main(["unpack", str(packed), "-o", str(tmp_path / "back.onnx"), "-y", "-q"]) == 0
        found = run_onnx(tmp_path / "back.onnx", inputs)
        errors.append(np.square(found - wanted).mean())
    assert errors[2] < errors[0]
    assert len(set(errors)) == 3
    for options in (["--lossless"], ["--layers", "4,2"], ["--no-blocks"]):
        assert "--correct" in fails(
            capsys, Exit.USAGE, *start, "--correct", tmp_path / "inputs.npy", *options
        )
    with_npz = ["pack", tmp_path / "none.npz", "-o", packed, "-y", "--correct", coded]
    np.savez(tmp_path / "none.npz", w=np.ones((2, 2), np.float32))
    assert "no graph" in fails(capsys, Exit.USAGE, *with_npz)


def test_pack_keeps_every_type_lossless(tmp_path, capsys):
    weights = {
        "nan": np.array([0x7FA00001, 0xFF800000, 1, 1 << 31], np.uint32).view(np.float32),
        "byte": np.arange(256, dtype=np.uint8),
        "wide": np.arange(-1000, 1000) << 53,
        "four": np.arange(-8, 8).astype(np.int8).astype(ml_dtypes.int4),
        "half": np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(256, 256),
        "brain": np.arange(1 << 16, dtype=np.uint16).view(ml_dtypes.bfloat16),
    }
    nodes = [helper.make_node("Identity", [name], [f"{name}/out"]) for name in weights]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, "h", "w"]) for n in "xy"]
    stored = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    nodes.append(helper.make_node("Identity", ["x"], ["y"]))
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    source, coded, back = (tmp_path / name for name in ("n.onnx", "n.nnc", "back.onnx"))
    source.write_bytes(model.SerializeToString())
    assert "'nan'" in fails(capsys, 1, "pack", source, "-o", coded)
    assert main(["pack", str(source), "-o", str(coded), "--lossless", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["max_abs_error"] == 0
    assert main(["probe", str(coded), "--json"]) == 0
    types = {each["name"]: each["dtype"] for each in json.loads(capsys.readouterr().out)["tensors"]}
    assert types == {name: str(value.dtype) for name, value in weights.items()}
    assert main(["unpack", str(coded), "-o", str(back), "-q"]) == 0
    found = {each.name: each for each in onnx.load(back).graph.initializer}
    for each in stored:
        assert (found[each.name].data_type, found[each.name].dims) == (each.data_type, each.dims)
        assert found[each.name].raw_data == each.raw_data, each.name
    assert main(["unpack", str(coded), "-o", str(tmp_path / "n.npz"), "-q"]) == 0
    line = fails(capsys, 2, "pack", source, "-o", coded, "--lossless", "--topology", "none", "-y")
    assert "graph" in line


@pytest.mark.parametrize("topology", ["text", "none"])
def test_pack_without_binary_topology(network, tmp_path, topology):
    model, coded = tmp_path / "net.onnx", tmp_path / "net.nnc"
    assert main(["unpack", str(network), "-o", str(model), "-q"]) == 0
    assert main(["pack", str(model), "-o", str(coded), "--topology", topology, "-q"]) == 0
    assert main(["unpack", str(coded), "-o", str(tmp_path / "net.npz"), "-q"]) == 0
    code = main(["unpack", str(coded), "-o", str(tmp_path / "net2.onnx"), "-q"])
    assert code == (0 if topology == "text" else 1)


def test_coarser_qp_is_smaller(network, tmp_path):
    model = tmp_path / "net.onnx"
    main(["unpack", str(network), "-o", str(model), "-q"])
    sizes = {}
    for name, extra in {
        "fine": ["--qp", "-38"],
        "coarse": ["--qp", "-20"],
        "plain": ["--qp", "-20", "--no-dq"],
        "dense": ["--qp", "-40", "--qp-density", "3"],
    }.items():
        out = tmp_path / f"{name}.nnc"
        assert main(["pack", str(model), "-o", str(out), "-q", *extra]) == 0
        sizes[name] = out.stat().st_size
    assert sizes["coarse"] < sizes["plain"] < sizes["fine"]
    # The same step by another spelling gives nearly the same size.
    assert abs(sizes["dense"] - sizes["coarse"]) < 0.02 * sizes["coarse"]


def test_enhance_keeps_pictures_times_and_sound(coded, tmp_path):
    out = tmp_path / "enhanced.mp4"
    assert main(["enhance", "-i", str(coded), str(out), *FAST]) == 0
    with open_media(coded) as before, open_media(out) as after:
        assert (after.video.width, after.video.height) == (1280, 720)
        times = [p.pts for p in before.pictures()]
        assert [p.pts for p in after.pictures()] == times
        assert len(times) == 12
        kinds = [
            [(s.type, s.codec_name) for s in m.streams if s.type != "video"]
            for m in (before, after)
        ]
        assert kinds[0] == kinds[1] != []
    assert audio(coded) == audio(out)


def audio(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [
            (Fraction(p.pts) * p.time_base, bytes(p)) for p in container.demux(stream) if p.size
        ]


def test_enhance_split_and_progress(coded, tmp_path):
    lines = tmp_path / "progress.txt"
    arguments = ["enhance", "-i", str(coded), str(tmp_path / "s.y4m"), "--split", "-q"]
    assert main([*arguments, "-progress", str(lines)]) == 0
    text = lines.read_text()
    assert text.endswith("progress=end\n")
    assert "frame=12\n" in text
    whole = tmp_path / "w.y4m"
    assert main(["enhance", "-i", str(coded), str(whole), "-q"]) == 0
    split, full = (luma(p) for p in (tmp_path / "s.y4m", whole))
    assert np.array_equal(split[:, 650:], full[:, 650:])
    assert not np.array_equal(split[:, :600], full[:, :600])


def luma(path):
    data = path.read_bytes()
    start = data.index(b"FRAME\n") + 6
    return np.frombuffer(data, np.uint8, 1280 * 720, start).reshape(720, 1280)


def test_enhance_to_a_pipe(coded):
    command = [sys.executable, "-P", "-m", "nnrvideo", "enhance", "-i", str(coded), "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stdout.startswith(b"YUV4MPEG2 W1280 H720 F24:1 ")
    assert result.stdout.count(b"FRAME\n") >= 12
    assert b"12 pictures" in result.stderr


def test_enhance_as_nut_and_as_bare_planes(coded, tmp_path):
    names = ("p.y4m", "p.nut", "p.raw")
    y4m, nut, raw = (tmp_path / name for name in names)
    for path, extra in ((y4m, []), (nut, []), (raw, ["-f", "raw"])):
        assert main(["enhance", "-i", str(coded), str(path), "-q", *extra]) == 0
    planes = b"".join(
        part[: 1280 * 720 * 3 // 2] for part in y4m.read_bytes().split(b"FRAME\n")[1:]
    )
    assert raw.read_bytes() == planes
    with open_media(nut) as media, open_media(coded) as source:
        shown = list(media.pictures())
        times = [item.pts for item in source.pictures()]
    assert [item.pts for item in shown] == pytest.approx(times)
    assert b"".join(p.tobytes() for item in shown for p in item.picture.planes) == planes


@pytest.mark.parametrize("kind", ["nut", "raw"])
def test_enhance_to_a_pipe_in_other_forms(coded, kind):
    command = [sys.executable, "-P", "-m", "nnrvideo", "enhance", "-i", str(coded), "-f", kind, "-"]
    result = subprocess.run(command, capture_output=True, check=True)
    size = 12 * 1280 * 720 * 3 // 2
    assert size <= len(result.stdout) < size + 10_000
    assert b"12 pictures" in result.stderr


def test_enhance_tells_and_obeys_the_precision(coded, tmp_path, capsys):
    for precision in ("fp32", "auto"):
        out = tmp_path / f"{precision}.y4m"
        arguments = ["enhance", "-i", str(coded), str(out), "--precision", precision, "--json"]
        assert main(arguments) == 0
        said = json.loads(capsys.readouterr().out)["precision"]
        assert said == "fp32" if precision == "fp32" else said in ("fp32", "int8")


def test_calibrate_and_play_what_it_allows(network, tmp_path, capsys):
    from nnrvideo.model import pack, ranges_of, unpack, without_ranges
    from nnrvideo.player.precision import integer_obstacle
    from nnrvideo.runtime import OnnxRuntimeBackend

    if obstacle := integer_obstacle(OnnxRuntimeBackend(providers=["CPUExecutionProvider"])):
        pytest.skip(obstacle)
    bare = tmp_path / "bare.nnc"
    bare.write_bytes(pack(without_ranges(unpack(base_network()).require_network())))
    out = tmp_path / "out.nnc"
    arguments = ["calibrate", str(bare), "-i", str(CLIP), "-o", str(out), "--pictures", "2"]
    code = main([*arguments, "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert code == 0, facts
    assert facts["integer"] == 3
    assert facts["loss"] <= 0.05
    assert any(ranges_of(unpack(out.read_bytes()).require_network()))
    # Nothing is allowed that loses more than nothing.
    strict = [*arguments, "--max-loss", "0", "-y", "--json"]
    code = main(strict)
    facts = json.loads(capsys.readouterr().out)
    assert code == (0 if facts["loss"] <= 0 else 4)
    assert "ranges yet" in fails(capsys, 1, "calibrate", out, "-i", CLIP, "-o", tmp_path / "x.nnc")


def test_compare_finds_the_gain(coded, tmp_path, capsys):
    png = tmp_path / "crop.png"
    arguments = ["compare", "-r", str(CLIP), "-i", str(coded), "--png", str(png), "--no-ssim"]
    assert main([*arguments, "--json", "-q"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["enhanced"] == facts["pictures"] == 12
    assert facts["psnr_y_gain_db"] > 0.1
    assert facts["network_bits"] > 8 * len(base_network())
    assert png.read_bytes().startswith(b"\x89PNG")


def test_embed_into_a_foreign_film(network, tmp_path, capsys):
    out = tmp_path / "out.mkv"
    assert main(["embed", "-i", str(CLIP), "-n", str(network), str(out), "--id", "9", "-q"]) == 0
    assert main(["probe", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["networks"][0]["nnpfc_id"] == 9


def test_sample_player_runs(coded):
    command = [sys.executable, str(ROOT / "samples" / "player.py"), str(coded)]
    result = subprocess.run(command, capture_output=True, check=True)
    assert result.stdout.count(b"FRAME\n") >= 12
    assert b"network_activated 7" in result.stderr


def test_version_names_the_backend(capsys):
    assert main(["--version"]) == 0
    out = capsys.readouterr().out
    assert "backend: " in out
    assert "CPUExecutionProvider" in out


# -- bad input -----------------------------------------------------------------------------------


def test_truncated_bitstream_names_unit_and_bit(network, tmp_path, capsys):
    broken = tmp_path / "broken.nnc"
    broken.write_bytes(network.read_bytes()[:-100])
    line = fails(capsys, 1, "unpack", broken, "-o", tmp_path / "x.onnx")
    assert "NNC unit " in line
    assert "bit " in line
    assert list(tmp_path.iterdir()) == [broken]


def test_corrupt_bitstream_names_unit_and_bit(network, tmp_path, capsys):
    data = bytearray(network.read_bytes())
    data[5000:5016] = bytes(16)
    broken = tmp_path / "broken.nnc"
    broken.write_bytes(data)
    line = fails(capsys, 1, "unpack", broken, "-o", tmp_path / "x.onnx")
    assert "NNC unit " in line
    assert "bit " in line


def test_unknown_operator_is_named(tmp_path, capsys):
    model = save_onnx(tmp_path / "n.onnx", [helper.make_node("NonZero", ["x"], ["y"])], {})
    line = fails(capsys, 1, "pack", model, "-o", tmp_path / "n.nnc")
    assert "NonZero" in line
    assert not (tmp_path / "n.nnc").exists()


def test_network_that_no_nnpfc_describes(tmp_path, capsys):
    weights = {"w": np.ones((5, 1, 3, 3))}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    model = save_onnx(tmp_path / "n.onnx", nodes, weights, out_channels=5)
    assert main(["pack", str(model), "-o", str(tmp_path / "n.nnc"), "-q"]) == 0
    line = fails(capsys, 1, "embed", "-i", CLIP, "-n", tmp_path / "n.nnc", tmp_path / "o.mp4")
    assert "NNPFC" in line
    assert "5 channels" in line
    assert not (tmp_path / "o.mp4").exists()


def test_network_for_another_picture_format(tmp_path, capsys):
    weights = {"w": np.ones((6, 6, 1, 1))}
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    model = save_onnx(tmp_path / "n.onnx", nodes, weights, channels=6, out_channels=6)
    assert main(["pack", str(model), "-o", str(tmp_path / "n.nnc"), "-q"]) == 0
    film = synthetic(tmp_path / "film.mp4", "libx264", "yuv444p")
    line = fails(capsys, 1, "embed", "-i", film, "-n", tmp_path / "n.nnc", tmp_path / "o.mp4")
    assert "4:2:0" in line


def test_codec_that_cannot_carry_names_those_that_can(network, tmp_path, capsys):
    film = synthetic(tmp_path / "film.mkv", "mpeg4", "yuv420p")
    line = fails(capsys, 2, "embed", "-i", film, "-n", network, tmp_path / "o.mkv")
    assert "mpeg4" in line
    assert "h264" in line
    assert "hevc" in line


def test_video_without_network(tmp_path, capsys):
    line = fails(capsys, 3, "enhance", "-i", CLIP, tmp_path / "o.mp4")
    assert "no network" in line
    assert list(tmp_path.iterdir()) == []
    fails(capsys, 3, "extract", CLIP, "-o", tmp_path / "nets")
    fails(capsys, 3, "compare", "-r", CLIP, "-i", CLIP)


def test_existing_output_is_kept(coded, network, tmp_path, capsys):
    precious = tmp_path / "precious.mp4"
    precious.write_bytes(b"precious")
    for arguments in (
        ["embed", "-i", CLIP, "-n", network, precious],
        ["strip", "-i", coded, precious],
        ["enhance", "-i", coded, precious],
        ["encode", "-i", CLIP, precious],
        ["unpack", network, "-o", precious.with_suffix(".npz")],
    ):
        precious.with_suffix(".npz").write_bytes(b"precious")
        assert "-y" in fails(capsys, 2, *arguments)
    assert precious.read_bytes() == b"precious"


def test_missing_and_unusable_files(network, tmp_path, capsys):
    assert "no such file" in fails(capsys, 1, "probe", tmp_path / "none.mp4").lower()
    text = tmp_path / "text.mp4"
    text.write_text("no film at all")
    assert "text.mp4" in fails(capsys, 1, "probe", text)
    assert "none.nnc" in fails(
        capsys, 1, "embed", "-i", CLIP, "-n", tmp_path / "none.nnc", tmp_path / "o.mp4"
    )
    fails(capsys, 2, "embed", "-i", CLIP, "-n", network, tmp_path / "no" / "folder" / "o.mp4")
    fails(capsys, 2, "pack", tmp_path / "net.h5", "-o", tmp_path / "o.nnc")


def test_corrupt_network_costs_the_enhancement_not_the_picture(coded, tmp_path, capsys, caplog):
    data = bytearray(coded.read_bytes())
    needle = base_network()[2000:2016]
    position = data.find(needle)
    while position >= 0:
        data[position : position + 16] = b"\x55" * 16
        position = data.find(needle, position + 16)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    out = tmp_path / "out.mp4"
    assert main(["enhance", "-i", str(broken), str(out), *FAST]) == 4
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1, [r.getMessage() for r in warnings]
    assert "NNC unit" in warnings[0].getMessage()
    with open_media(out) as media:
        pictures = list(media.pictures())
    assert len(pictures) == 12
    assert {(p.picture.width, p.picture.height) for p in pictures} == {(1280, 720)}


def test_no_arguments_and_nonsense(capsys):
    assert main([]) == 2
    assert "enhance" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_info:
        main(["frobnicate"])
    assert exit_info.value.code == 2


def synthetic(path, codec, pixel_format):
    """A quarter second of noise in some codec."""
    random = np.random.default_rng(3)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for _ in range(6):
            rgb = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_diff_and_unpack_against_a_base(network, tmp_path, capsys):
    """NEW comes back from BASE and the update; a second update goes on from the first."""
    base = tmp_path / "base.npz"
    assert main(["unpack", str(network), "-o", str(base), "-q"]) == 0
    rng = np.random.default_rng(0)
    with np.load(base) as archive:
        tensors = {name: archive[name] for name in archive.files}
    for number in (1, 2):
        for name, value in tensors.items():
            if value.ndim > 1:
                tensors[name] = value + rng.normal(0, 0.01, value.shape).astype(np.float32)
        np.savez(tmp_path / f"new{number}.npz", **tensors)
    one, two = tmp_path / "one.nnc", tmp_path / "two.nnc"
    coding = ["--qp", "-40", "-q"]
    assert main(["diff", str(network), str(tmp_path / "new1.npz"), "-o", str(one), *coding]) == 0
    again = ["diff", str(network), str(tmp_path / "new2.npz"), "--after", str(one), "-o", str(two)]
    assert main([*again, "--json", "--parent", "sha256", *coding]) == 0
    assert json.loads(capsys.readouterr().out)["max_abs_error"] < 0.01
    names = []
    for path in (network, one):
        assert main(["probe", str(path), "--json"]) == 0
        names.append(json.loads(capsys.readouterr().out))
    assert names[1]["is_update"] and names[1]["base_model_id"] == names[0]["model_id"]
    assert main(["probe", str(one)]) == 0
    assert names[0]["model_id"] in capsys.readouterr().out
    out = tmp_path / "out.npz"
    bases = ["--base", str(network), "--base", str(one)]
    assert main(["unpack", str(two), "-o", str(out), *bases, "-q"]) == 0
    with np.load(out) as archive:
        for name, value in tensors.items():
            np.testing.assert_allclose(archive[name], value, atol=0.01)
    graph = tmp_path / "out.onnx"
    assert main(["unpack", str(one), "-o", str(graph), "--base", str(network), "-q"]) == 0
    onnx.checker.check_model(str(graph), full_check=True)
    # Without the update in between, without a base, and onto the wrong one.
    for given in (bases[:2], [], ["--base", str(tmp_path / "new1.npz")]):
        command = ["unpack", str(two), "-o", str(tmp_path / "x.onnx"), *given]
        assert main(command) == Exit.BAD_INPUT
        assert not (tmp_path / "x.onnx").exists()


def test_layers(network, tmp_path, capsys):
    """Cut after any layer, the stream is still a network, and probe tells how good."""
    model, layered = tmp_path / "net.onnx", tmp_path / "layered.nnc"
    assert main(["unpack", str(network), "-o", str(model), "-q"]) == 0
    assert main(["pack", str(model), "-o", str(layered), "--layers", "4,2,2", "-q"]) == 0
    assert main(["probe", str(layered), "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [each["end"] for each in layers][-1] == layered.stat().st_size
    errors = [each["rms_difference"] for each in layers]
    assert errors[0] > 3 * errors[1] > errors[2] == 0
    for each in layers:
        cut = tmp_path / "cut.nnc"
        cut.write_bytes(layered.read_bytes()[: each["end"]])
        assert main(["unpack", str(cut), "-o", str(tmp_path / "cut.onnx"), "-y", "-q"]) == 0
        onnx.checker.check_model(str(tmp_path / "cut.onnx"), full_check=True)
    cut.write_bytes(layered.read_bytes()[: layers[1]["end"] + 5])
    assert main(["unpack", str(cut), "-o", str(tmp_path / "x.npz")]) == Exit.BAD_INPUT
    for wrong in ("", "4,x", "0", "4,,2", "99"):
        with pytest.raises(SystemExit):
            main(["pack", str(model), "-o", str(tmp_path / "x.nnc"), "--layers", wrong])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_the_main_job_in_av1(tmp_path, suffix, capsys):
    coded = tmp_path / f"coded.{suffix}"
    encoder = ["-c:v", "libsvtav1", "-preset", "12", "-svtav1-params", "lookahead=16"]
    command = ["encode", "-i", str(CLIP), "-t", "0.4", "-g", "6", *encoder, "-q", str(coded)]
    assert main(command) == 0
    assert main(["probe", str(coded), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (found,) = report["networks"]
    assert len(found["occurrences"]) == 2
    enhanced = tmp_path / "enhanced.mp4"
    assert main(["enhance", "-i", str(coded), *FAST, str(enhanced), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["enhanced"] == facts["pictures"] == 10
    assert main(["strip", "-i", str(coded), str(tmp_path / f"bare.{suffix}"), "-q"]) == 0
    assert main(["probe", str(tmp_path / f"bare.{suffix}")]) == Exit.NO_NETWORK


def test_an_encoder_without_a_place_is_refused_before_the_work(tmp_path, capsys):
    line = fails(capsys, Exit.USAGE, "encode", "-i", CLIP, "-c:v", "ffv1", tmp_path / "x.mkv")
    assert "ffv1 has no place for a network" in line
    assert list(tmp_path.iterdir()) == []
