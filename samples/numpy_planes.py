# SPDX-License-Identifier: Apache-2.0
"""Enhances planes that come from anywhere, with no media library at all.

    python samples/numpy_planes.py

The pictures here are made up; in a player they are the decoder's buffers, which are read in place.
The network is the shipped one, in the message in which a stream would carry it; a stream's own
``sei_message()`` bytes go to ``send_side_data`` as they are.
"""

import numpy as np

from nnrvideo import ChromaFormat, Enhancer, Picture, base_network, unpack
from nnrvideo.model import infer_contract, measure, to_nnpfc
from nnrvideo.sei import Nnpfa, message_of, pack_records


def start_of_stream() -> bytes:
    bitstream = base_network()
    network = unpack(bitstream).require_network()
    base = to_nnpfc(infer_contract(network), measure(network), nnpfc_id=7, payload=bitstream)
    return pack_records([message_of(base), message_of(Nnpfa.activate(7))])


def decoded(index: int, width: int = 320, height: int = 180) -> Picture:
    """Rows of a buffer may be longer than the picture, as decoders like them."""
    buffer = np.zeros((height, 384), np.uint8)
    luma = buffer[:, :width]
    luma[:] = 128 + 100 * np.sin((np.arange(width) + 4 * index) / 20)
    chroma = np.full((height // 2, width // 2), 128, np.uint8)
    return Picture((luma, chroma, chroma), ChromaFormat.C420, bit_depth=8)


def main() -> None:
    with Enhancer() as enhancer:
        enhancer.send_side_data(0, start_of_stream(), clvs_start=True)
        for index in range(5):
            enhancer.send_frame(decoded(index), index)
            result = enhancer.receive(timeout=None)
            luma = result.picture.planes[0]
            print(index, luma.shape, luma.dtype, f"mean {luma.mean():.1f}", result.info.enhanced)
        print(enhancer.stats())


if __name__ == "__main__":
    main()
