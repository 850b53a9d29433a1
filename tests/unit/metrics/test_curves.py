# SPDX-License-Identifier: Apache-2.0
"""CSV files of curves: what is read, and one clear line for what is not."""

import pytest

from nnrvideo.metrics.curves import CurveFileError, curves_csv, read_curves


def read(tmp_path, text, **options):
    path = tmp_path / "curves.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return dict(read_curves(path, **options).metrics)


def test_columns_by_name(tmp_path):
    text = "label,psnr_y,rate,vmaf\nqp37,34.5,100,71\nqp32,36.5,200,80\n"
    assert read(tmp_path, text) == {
        "psnr_y": [(100, 34.5), (200, 36.5)],
        "vmaf": [(100, 71), (200, 80)],
    }


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_blank_lines_and_byte_order_mark(tmp_path, separator):
    text = "\ufeffrate,q\n1,2\n\n3,4\r\n".replace(",", separator)
    assert read(tmp_path, text) == {"q": [(1, 2), (3, 4)]}


def test_another_rate_column_and_a_missing_cell(tmp_path):
    text = "kbps,q,r\n1,2,\n3,,5\n4,6,7\n"
    assert read(tmp_path, text, rate_column="kbps") == {
        "q": [(1, 2), (4, 6)],
        "r": [(3, 5), (4, 7)],
    }


def test_what_is_written_is_read(tmp_path):
    text = curves_csv(["label", "rate", "q"], [["a,b", 1.5, 2.0], ['"', 3.0, None], ["c", 4, 5]])
    assert read(tmp_path, text) == {"q": [(1.5, 2), (4, 5)]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'rate'"),
        ("a,b\n1,2\n", "its columns: a, b"),
        ("rate,q\n0,1\n", "line 2: rate '0'"),
        ("rate,q\nx,1\n", "line 2: rate 'x'"),
        ("rate,q\ninf,1\n", "line 2"),
        ("rate,q\n1,2\n3\n", "line 3: 1 cells under 2"),
        ("rate,q\n", "no column of numbers"),
        ("rate,q\n1,nan\n", "no column of numbers"),
        ("rate,q,q\n1,2,3\n", "different names"),
        (b"rate,q\n1,\xff\n", "UTF-8"),
        (b"rate," + b"q" * (5 << 20), "larger than 4 MiB"),
    ],
)
def test_files_that_hold_no_curves(tmp_path, text, message):
    with pytest.raises(CurveFileError, match=message):
        read(tmp_path, text)
