# SPDX-License-Identifier: Apache-2.0
"""Results in the caller's planes, and an enhancer that works in the caller's thread."""

import threading

import numpy as np
import pytest

from nnrvideo.limits import Limits
from nnrvideo.picture import ChromaFormat, Picture, PictureFormat
from nnrvideo.player import Enhanced, Enhancer, Status
from nnrvideo.player.filter import NetworkFilter
from nnrvideo.player.networks import decode_network, load_network
from nnrvideo.runtime import OnnxRuntimeBackend

LIMITS = Limits.desktop()
FILL = 77  # in every byte that no sample belongs in


def foreign(wanted, pixel_step=1):
    """Planes as other people lay them out: padded rows, on request other samples in between.

    Returns the picture, and a function that tells whether the bytes around it are untouched.
    """
    buffers, planes = [], []
    for component in range(wanted.chroma_format.planes):
        rows, columns = wanted.plane_shape(component)
        buffer = np.full((rows + 2, columns * pixel_step + 24), FILL, wanted.dtype)
        buffers.append(buffer)
        planes.append(buffer[1:-1, 8 : 8 + columns * pixel_step : pixel_step])

    def untouched():
        for buffer, plane in zip(buffers, planes, strict=True):
            kept = plane.copy()
            plane[...] = FILL
            if not (buffer == FILL).all():
                return False
            plane[...] = kept
        return True

    return Picture(tuple(planes), wanted.chroma_format, wanted.bit_depth), untouched


def build(nnpfc, source, memory=256 << 20):
    network = decode_network(nnpfc, None, limits=LIMITS)
    loaded = load_network(network, nnpfc, source, OnnxRuntimeBackend(threads=1), limits=LIMITS)
    return NetworkFilter(loaded, nnpfc, source, limits=LIMITS, max_memory_bytes=memory)


def same(first, second):
    return first.format == second.format and all(
        np.array_equal(a, b) for a, b in zip(first.planes, second.planes, strict=True)
    )


@pytest.mark.parametrize("pixel_step", [1, 2])
@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("chroma", list(ChromaFormat))
@pytest.mark.parametrize("network", ["double", "blur", "bands", "patches"])
def test_filters_write_the_same_samples_into_planes_of_the_caller(
    nets, network, chroma, depth, pixel_step
):
    picture = nets.noise(64, 50, chroma, depth)
    memory = 256 << 20
    if network == "double":
        nnpfc = nets.base(nets.upscaler(5))
    elif network == "patches":
        nnpfc = nets.base(
            nets.blur(size=5),
            nnpfc_constant_patch_size_flag=True,
            nnpfc_patch_width_minus1=18,
            nnpfc_patch_height_minus1=12,
            nnpfc_extended_patch_width_cd_delta_minus1=0,
            nnpfc_extended_patch_height_cd_delta_minus1=0,
        )
    else:
        nnpfc = nets.base(nets.blur(3))
        memory = 24 << 10 if network == "bands" else memory
    one = build(nnpfc, picture.format, memory)
    assert (one.plan.count > 1) == (network in ("bands", "patches"))
    into, untouched = foreign(one.target, pixel_step)
    made = one.process(picture, into=into)
    assert made.planes is into.planes
    assert same(made, one.process(picture))
    assert untouched()


def test_planes_of_another_format_are_the_callers_mistake(nets):
    picture = nets.noise()
    one = build(nets.base(nets.upscaler(5)), picture.format)
    with pytest.raises(ValueError, match="the planes are for"):
        one.process(picture, into=nets.flat())


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_enhanced_plain_and_foreign_sizes(nets, workers):
    """Whatever makes the result writes it where the caller wants it, if it fits there."""
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    sent = [
        (nets.noise(16, 12, seed=0), PictureFormat(32, 24), False),
        (nets.noise(16, 12, seed=1), PictureFormat(32, 24), True),  # plain
        (nets.noise(24, 18, seed=2), PictureFormat(32, 24), False),  # other size in, same out
        (nets.noise(16, 12, seed=3), PictureFormat(30, 24), False),  # planes that do not fit
        (nets.noise(32, 24, seed=4), PictureFormat(32, 24), True),  # nothing to be done
    ]

    def play(*, lend):
        results = []
        with Enhancer(threads=2, workers=workers) as enhancer:
            enhancer.send_side_data(0, start, clvs_start=True)
            for pts, (picture, form, plain) in enumerate(sent):
                into = foreign(form)[0] if lend else None
                assert enhancer.send_frame(picture, pts, plain=plain, into=into) is Status.OK
                result = enhancer.receive(None)
                assert result.info.into == (
                    into is not None and result.picture.planes is into.planes
                )
                results.append(result)
        return results

    lent, owned = play(lend=True), play(lend=False)
    assert [one.info.into for one in lent] == [True, True, True, False, False]
    assert not any(one.info.into for one in owned)
    assert all(same(a.picture, b.picture) for a, b in zip(lent, owned, strict=True))
    assert [one.info.enhanced for one in lent] == [True, False, True, True, False]


def test_a_network_that_fails_leaves_the_plain_picture_in_the_planes(nets):
    class Failing:
        """Warms up, and fails at the first picture."""

        def __init__(self, inner):
            self._inner, self._runs = inner, 0

        def __getattr__(self, name):
            return getattr(self._inner, name)

        def run(self, feeds):
            self._runs += 1
            if self._runs > 2:
                raise RuntimeError("device lost")
            return self._inner.run(feeds)

    class Backend:
        def __init__(self):
            self._inner = OnnxRuntimeBackend(threads=1)

        def capabilities(self):
            return self._inner.capabilities()

        def load(self, graph, initializers):
            return Failing(self._inner.load(graph, initializers))

    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    picture = nets.noise()
    into, untouched = foreign(PictureFormat(32, 24))
    with Enhancer(workers=0, backend=Backend()) as enhancer:
        enhancer.send_side_data(0, start, clvs_start=True)
        enhancer.send_frame(picture, 0, into=into)
        result = enhancer.receive(None)
    assert (result.info.enhanced, result.info.into) == (False, True)
    assert "device lost" in result.info.reason
    assert untouched()
    with Enhancer(output_size=(32, 24)) as plain:
        plain.send_frame(picture, 0)
        assert same(plain.receive(None).picture, result.picture)


def test_planes_that_cannot_be_written_are_the_callers_mistake(nets):
    into = nets.flat(width=32, height=24)
    into.planes[1].flags.writeable = False
    with Enhancer() as enhancer, pytest.raises(ValueError, match="cannot be written"):
        enhancer.send_frame(nets.flat(), 0, into=into)


def test_without_workers_everything_happens_in_the_callers_thread(nets):
    start = nets.records(nets.base(nets.upscaler(9)), nets.activate(7))
    names = set()

    class Backend:
        def __init__(self):
            self._inner = OnnxRuntimeBackend(threads=1)
            self.capabilities = self._inner.capabilities

        def load(self, graph, initializers):
            session = self._inner.load(graph, initializers)

            class Watched:
                inputs, outputs, provider = session.inputs, session.outputs, session.provider
                fallbacks = ()

                @staticmethod
                def run(feeds):
                    names.add(threading.current_thread().name)
                    return session.run(feeds)

            return Watched()

    with Enhancer(workers=0, backend=Backend(), source=nets.flat().format) as enhancer:
        assert not [t for t in threading.enumerate() if t.name.startswith("nnrvideo-enhancer")]
        enhancer.send_side_data(0, start, clvs_start=True)
        assert enhancer.wait_for_networks(30)
        names.clear()  # of the warm-up, which is the builder's
        assert enhancer.receive() is Status.AGAIN
        for pts in range(3):
            assert enhancer.send_frame(nets.flat(), pts) is Status.OK
        assert (enhancer.ready, enhancer.pending) == (0, 3)
        first = enhancer.receive()  # works on this one only
        assert (first.pts, enhancer.ready, enhancer.pending) == (0, 0, 2)
        enhancer.drain()
        assert enhancer.ready == 2
        rest = [enhancer.receive() for _ in range(2)]
        assert [one.pts for one in rest if isinstance(one, Enhanced)] == [1, 2]
        assert all(one.info.enhanced for one in (first, *rest))
        enhancer.send_frame(nets.flat(), 3)
        enhancer.flush()
        assert enhancer.receive(None) is Status.AGAIN
        counts = enhancer.stats()
        assert (counts.frames_in, counts.frames_out, counts.flushed) == (4, 3, 1)
    assert names == {threading.current_thread().name}
