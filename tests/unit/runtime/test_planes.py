# SPDX-License-Identifier: Apache-2.0
"""Memory that is used again: never while somebody looks at it, and not kept without bound."""

import threading

import numpy as np

from nnrvideo.picture import ChromaFormat, PictureFormat
from nnrvideo.runtime.planes import PlanePool

BYTE = np.dtype(np.uint8)


def address(plane):
    return plane.__array_interface__["data"][0]


def test_memory_comes_back_with_the_last_view_only():
    pool = PlanePool()
    plane = pool.plane((6, 8), BYTE)
    first = address(plane)
    corner = plane[2:4, ::2].T
    del plane
    second = pool.plane((6, 8), BYTE)
    assert address(second) != first
    corner[...] = 5
    second[...] = 9
    assert (corner == 5).all()
    del corner
    assert address(pool.plane((8, 6), BYTE)) == first  # as many bytes


def test_planes_are_writable_and_of_the_wanted_type():
    plane = PlanePool().plane((3, 5), np.dtype(np.uint16))
    assert (plane.shape, plane.dtype, plane.flags.c_contiguous) == ((3, 5), np.uint16, True)
    plane[...] = 1023
    assert (plane == 1023).all()


def test_pictures_of_every_format():
    for chroma in ChromaFormat:
        wanted = PictureFormat(7, 5, chroma, 10)
        assert PlanePool().picture(wanted).format == wanted


def test_no_more_is_kept_than_was_allowed():
    pool = PlanePool(spare=2)
    planes = [pool.plane((4, 4), BYTE) for _ in range(5)]
    del planes
    assert len(pool._blocks[16]) == 2
    for size in range(1, 100):
        pool.plane((size, 3), BYTE)
    assert len(pool._blocks) <= 8


def test_many_threads_never_share_a_plane():
    pool = PlanePool()
    wrong = []

    def work(mark):
        for _ in range(300):
            plane = pool.plane((16, 16), BYTE)
            plane[...] = mark
            view = plane[1:]
            del plane
            if not (view == mark).all():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
