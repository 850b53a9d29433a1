# SPDX-License-Identifier: Apache-2.0
"""The page: what stands on it, that nothing else is needed, and that no string becomes markup."""

import base64
import hashlib
import math
import re
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser

import pytest

from nnrvideo.metrics import Quality
from nnrvideo.report import render
from nnrvideo.report.results import Bits

_VOID = {"meta", "img", "input", "br"}
_HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """Elements with their attributes, and text; complains about markup that does not close."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def count(self, tag, **wanted):
        return sum(
            tag == name and all(attributes.get(k) == v for k, v in wanted.items())
            for name, attributes in self.elements
        )


def test_figures_stand_on_the_page(report):
    text = Page(render(report)).text
    for figure in (
        "−20.0 %", "100% overlap", "source.mp4: 128×96, 8 bits, 24 pictures/s, 48 pictures, 2.00 s",
        "resolution resampling", "1,250", "345", "ab" * 32, "0.000, 1.000 s", "+1.00", "30.00",
        "network on 47 of 48 pictures", "no filter is active", "75.0% of the plain", "110.0%",
        "BD-rate if 20 s long", "Absent: ms_ssim_y: pictures are smaller", "vmaf_v0.6.1neg",
        "largest gain, at 0.500 s, x 8, y 16", "3.25", "over all 0.125", "10,000", "nnrvideo 1",
    ):  # fmt: skip
        assert figure in text, figure


def test_structure(report):
    page = Page(render(report))
    assert page.count("details") == 4
    assert page.count("input", type="range") == 4
    assert page.count("img") == 4 * 5
    assert page.count("button") == 3  # PSNR-Y, SSIM, VMAF
    assert page.count("svg") == 3 + 4
    assert page.count("meta", name="viewport") == 1
    marks = [a["data-tip"] for t, a in page.elements if t == "g" and a.get("class") == "mark"]
    assert len(marks) == 3 * 3 * 4
    assert "hevc + network\ncoded0.mp4\n100.0 kbit/s\nPSNR-Y 31.00 dB" in marks


def test_nothing_is_fetched(report):
    page = render(report)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page.replace("// Tabs", ""))
    for tag, attributes in Page(page).elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "a")
        source = attributes.get("src")
        assert source is None or source.startswith("data:image/png;base64,")


def test_policy_allows_this_script_and_no_other(report):
    page = render(report)
    policy = next(a["content"] for t, a in Page(page).elements if "http-equiv" in a)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def poisoned(value):
    """The same report with a hostile string wherever there is a string."""
    if is_dataclass(value):
        return replace(value, **{f.name: poisoned(getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, tuple):
        return tuple(poisoned(item) for item in value)
    if isinstance(value, dict):
        return {_HOSTILE + k: poisoned(v) for k, v in value.items()}
    return _HOSTILE + value if isinstance(value, str) and value else value


def test_strings_of_a_report_never_become_markup(report, with_coded):
    uri = replace(report.coded[0].networks[0], uri="uri")
    report = with_coded(networks=(uri,))
    clean, hostile = Page(render(report)), Page(render(poisoned(report)))
    assert [t for t, _ in hostile.elements] == [t for t, _ in clean.elements]
    names = [[sorted(a) for _, a in page.elements] for page in (clean, hostile)]
    assert names[0] == names[1]
    assert hostile.text.count("alert(1)") > 50


@pytest.mark.parametrize(
    "fields_",
    [
        {"plain": Quality(psnr_y=math.inf), "network": Quality(psnr_y=math.inf)},
        {"plain": Quality(psnr_y=-3.0), "network": Quality(psnr_y=0.0)},
        {"plain": Quality(psnr_y=1e299), "network": Quality(psnr_y=-1e299)},
        {"bits": Bits(video=1)},
        {"bits": Bits(video=1 << 62, base=1 << 62)},
        {"scenes": (), "timeline": (), "crops": (), "networks": (), "change_map": None},
    ],
)
def test_odd_figures_are_drawn(with_coded, fields_):
    text = render(with_coded(**fields_))
    Page(text)
    assert not re.search(r"\bnan\b", text)


def test_a_single_point_makes_a_page(report):
    page = Page(render(replace(report, coded=report.coded[:1], anchors=())))
    assert "has 1 points" in page.text
    assert page.count("svg") == 4


def test_anchors_that_lack_pictures_are_named(report):
    lame = replace(report.anchors[0], name="lame.mp4", unpaired=3)
    text = Page(render(replace(report, anchors=(lame, *report.anchors[1:])))).text
    assert "lame.mp4: 3 pictures have no partner in the source." in text


def test_no_files_at_all(report):
    Page(render(replace(report, coded=(), anchors=())))
