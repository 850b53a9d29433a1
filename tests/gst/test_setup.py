# SPDX-License-Identifier: Apache-2.0
"""Installed elements are found and described; what is missing is said in words and not cached."""

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from nnrvideo.cli.main import main
from nnrvideo.gst import setup

PROPERTIES = {
    "nnrextract": {"strip", "stats"},
    "nnrenhance": {
        "enabled", "mode", "scale-policy", "upscaler", "model-file", "execution-provider",
        "threads", "max-memory", "deadline", "qos", "latency-report", "network-id", "active",
        "stats",
    },
    "nnrinsert": {"location", "updates", "nnpfc-id", "activate", "keep-existing", "stats"},
    "nnrdescribe": {"model-file", "bits", "rotations", "rate", "pdq", "location", "stats"},
    "nnrh264decodebin": {"base-decoder"},
    "nnrh265decodebin": {"base-decoder"},
    "nnrav1decodebin": {"base-decoder"},
}  # fmt: skip


@pytest.mark.parametrize("element", setup.ELEMENTS)
def test_inspect_prints_a_whole_page(launch, element):
    page = launch("gst-inspect-1.0", element).stdout
    assert re.search(r"Rank +none \(0\)", page)
    assert re.search(r"Long-name +Neural network", page)
    assert "SINK template" in page
    assert "SRC template" in page
    listed = dict(re.findall(r"^  ([a-z0-9-]+) +: (.+)$", page, re.MULTILINE))
    assert listed.keys() >= PROPERTIES[element] | {"name", "parent"}
    assert all(len(listed[name]) > 20 for name in PROPERTIES[element])
    if "stats" in PROPERTIES[element]:
        assert re.search(r"stats .*\n +flags: readable\n", page)


def test_formats_of_the_shell_are_those_of_the_library(gst):
    from nnrvideo.gst.frames import FORMATS

    template = gst.ElementFactory.make("nnrenhance").get_pad_template("sink")
    structure = template.get_caps().get_structure(0)
    assert set(re.findall(r"\w+", structure.to_string().split("{")[1].split("}")[0])) == set(
        FORMATS
    )


def test_elements_of_a_user_need_no_variable(gst_environment, launch, tmp_path):
    home = {"HOME": str(tmp_path), "GST_PLUGIN_PATH": "", "GST_REGISTRY": str(tmp_path / "r")}
    launch("gst-inspect-1.0", "fakesink", **home)  # a registry without the elements
    target = setup.user_folder(home)
    written = setup.install(target)
    assert {file.name for file in written} >= {f"{e}.py" for e in setup.ELEMENTS} | {"where.json"}
    launch("gst-launch-1.0", "videotestsrc", "num-buffers=2", "!", "nnrenhance", "!", "fakesink",
           VIRTUAL_ENV="/nonexistent", **home)  # fmt: skip
    setup.uninstall(target)
    assert not [file for file in target.rglob("*") if "nnr" in file.name]
    assert launch("gst-inspect-1.0", "nnrenhance", check=False, **home).returncode


def site_without(folder, *left_out):
    """A site-packages folder with everything of ours but some packages."""
    name = "python{}.{}".format(*sys.version_info[:2])
    site = folder / "lib" / name / "site-packages"
    site.mkdir(parents=True)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name.split("-")[0] not in left_out:
            (site / entry.name).symlink_to(entry)
    return site


def bound_to(target, site):
    setup.install(target / "python")
    where = target / "python" / "nnrvideo_shim" / "where.json"
    where.write_text(json.dumps({"site_packages": str(site)}))
    return {"GST_PLUGIN_PATH": str(target), "GST_REGISTRY": str(target / "registry")}


PLAY = ["gst-launch-1.0", "videotestsrc", "num-buffers=2", "!", "nnrenhance", "!", "fakesink"]


def test_missing_onnxruntime_is_said_and_not_cached(launch, tmp_path):
    site = site_without(tmp_path, "onnxruntime")
    variables = bound_to(tmp_path / "plugins", site)
    failed = launch(*PLAY, check=False, **variables)
    assert failed.returncode
    assert "onnxruntime" in failed.stderr
    assert "pip install onnxruntime" in failed.stderr
    (site / "onnxruntime").symlink_to(Path(sysconfig.get_path("purelib"), "onnxruntime"))
    launch(*PLAY, **variables)


def test_missing_library_is_said_and_not_cached(launch, tmp_path):
    site = site_without(tmp_path, "numpy")
    variables = bound_to(tmp_path / "plugins", site)
    assert launch("gst-inspect-1.0", "nnrenhance", **variables).stdout
    failed = launch(*PLAY, check=False, **variables)
    assert "nnrvideo cannot be loaded" in failed.stderr
    assert "numpy" in failed.stderr
    (site / "numpy").symlink_to(Path(sysconfig.get_path("purelib"), "numpy"))
    launch(*PLAY, **variables)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ("lib/python3.1/site-packages", "belongs to python3.1"),
        ("lib/nothing/site-packages", "is not installed where"),
    ],
)
def test_wrong_place_is_said(launch, tmp_path, site, words):
    if "python3" in site:
        (tmp_path / site / "nnrvideo").mkdir(parents=True)
    variables = bound_to(tmp_path / "plugins", tmp_path / site)
    failed = launch(*PLAY, check=False, **variables)
    assert failed.returncode
    assert words in failed.stderr


# -- nnrvideo gst --------------------------------------------------------------------------------


def examined(environment):
    return {finding.what: finding for finding in setup.examine(environment)}


def test_doctor_without_gstreamer():
    (finding,) = examined({"PATH": "/nonexistent"}).values()
    assert not finding.ok
    assert "apt-get install" in finding.remedy


def test_doctor_without_variables(gst_environment, tmp_path):
    bare = {**gst_environment, "GST_PLUGIN_PATH": "", "HOME": str(tmp_path)}
    (wrong,) = [f for f in examined(bare).values() if not f.ok]
    assert "nnrenhance" in wrong.what
    assert "nnrvideo gst install --user" in wrong.remedy


def test_doctor_starts_an_element(gst_environment, tmp_path):
    """The environment of another Python is only noticed by its library."""
    (tmp_path / "lib/python3.1/site-packages/nnrvideo").mkdir(parents=True)
    bound = bound_to(tmp_path / "plugins", tmp_path / "lib/python3.1/site-packages")
    wrong = [f.what for f in setup.examine({**gst_environment, **bound}) if not f.ok]
    assert len(wrong) == 1
    assert "nnrenhance does not start" in wrong[0]
    assert "belongs to python3.1" in wrong[0]


def test_doctor_sees_a_registry_that_remembers(gst_environment, tmp_path):
    """The loader fails once, in an environment without gi; then its failure is cached."""
    broken = tmp_path / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(broken)], check=True)
    variables = {**gst_environment, "GST_REGISTRY": str(tmp_path / "registry")}
    failing = {**variables, "PATH": f"{broken}/bin:{variables['PATH']}"}
    assert any("cannot import gi" in what for what in examined(failing))
    assert not (tmp_path / "registry").exists()
    subprocess.run(["gst-inspect-1.0", "fakesink"], env=failing, capture_output=True, check=True)
    (wrong,) = [f for f in examined(variables).values() if not f.ok]
    assert "registry" in wrong.what
    assert setup.forget_registry(variables) == [tmp_path / "registry"]
    assert not [f for f in examined(variables).values() if not f.ok]


def test_doctor_sees_copies_of_another_version(tmp_path):
    target = setup.user_folder({"HOME": str(tmp_path)})
    setup.install(target)
    fine = list(setup._examine_places({"HOME": str(tmp_path)}))
    assert [f.ok for f in fine] == [True]
    (target / "nnrextract.py").write_text("# older\n")
    where = target / "nnrvideo_shim" / "where.json"
    where.write_text(json.dumps({"site_packages": "/elsewhere"}))
    wrong = [f.what for f in setup._examine_places({"HOME": str(tmp_path)}) if not f.ok]
    assert "another version" in wrong[0]
    assert "another environment: /elsewhere" in wrong[1]


def test_command_line(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GST_REGISTRY", str(tmp_path / "registry"))
    (tmp_path / "registry").write_bytes(b"old")
    monkeypatch.setattr(setup, "link_gi", lambda: None)
    assert main(["gst", "env"]) == 0
    assert capsys.readouterr().out.startswith(f'export GST_PLUGIN_PATH="{setup.plugin_folder()}')
    assert main(["gst", "install", "--user"]) == 0
    assert (tmp_path / ".gstreamer-1.0/plugins/python/nnrenhance.py").is_file()
    assert not (tmp_path / "registry").exists()
    assert main(["gst", "install", "--target", str(tmp_path / "here"), "--json"]) == 0
    assert (tmp_path / "here/python/nnrvideo_shim/where.json").is_file()
    assert main(["gst", "install", "--user", "--remove", "-q"]) == 0
    assert not (tmp_path / ".gstreamer-1.0/plugins/python/nnrenhance.py").exists()
    assert main(["gst", "env", "--user"]) == 2
    assert main(["gst", "install", "--remove"]) == 2
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["gst", "doctor"]) == 5
    assert "apt-get" in capsys.readouterr().out


def test_link_to_the_systems_gi(monkeypatch, tmp_path):
    """In an environment that has no gi of its own."""
    if setup.system_gi() is None:
        pytest.skip("the system has no gi for this Python")
    monkeypatch.setattr(setup, "_importable", lambda module: False)
    monkeypatch.setattr(setup.sysconfig, "get_path", lambda name: str(tmp_path))
    link = setup.link_gi()
    assert link == tmp_path / "gi"
    assert link.samefile(setup.system_gi())
    with pytest.raises(setup.GStreamerError, match="cannot link"):
        setup.link_gi()
    monkeypatch.setattr(setup, "system_gi", lambda: None)
    with pytest.raises(setup.GStreamerError, match="Python of the system"):
        setup.link_gi()
