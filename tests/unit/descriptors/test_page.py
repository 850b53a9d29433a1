# SPDX-License-Identifier: Apache-2.0
from nnrvideo.descriptors.matching import compare
from nnrvideo.descriptors.page import Shown, render

from .conftest import random_rgb
from .test_matching import film

HOSTILE = "<script>alert(1)</script>.mp4"


def test_a_page_shows_intervals_and_pictures_and_no_foreign_markup():
    match = compare(film(range(5, 9)), film(range(20)))
    pictures = random_rgb(1), random_rgb(2)
    page = render(
        HOSTILE,
        [Shown(HOSTILE, match, (4.0, 20.0), pictures), Shown("b", match, (4, 20))],
        [HOSTILE],
    )
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") >= 4
    assert page.count("data:image/png") == 2
    assert page.count("<rect") == 8
    assert "5.00 to 9.00" in page
    assert "default-src 'none'" in page


def test_an_empty_page_says_so():
    assert "nothing shares content" in render("q", [])
