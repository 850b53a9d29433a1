# SPDX-License-Identifier: Apache-2.0
"""A whole player in forty lines: any decoder + the Enhancer, pictures in real time to a pipe.

    python samples/player.py coded.mp4 | mpv -

Messages go in in decoding order, pictures in display order, each with the time at which it is
due; one picture comes out for each, plainly upscaled where the network cannot make it in time.
"""

import sys
import time
from threading import Thread

from nnrvideo import Enhanced, Enhancer, SideData, open_media, open_writer

AHEAD = 1.0  # seconds that decoding may be ahead of the screen


def play(path: str) -> None:
    start = time.monotonic() + AHEAD
    with (
        open_media(path) as media,
        open_writer("-", like=media.video) as screen,
        Enhancer(realtime=True, workers=2, source=media.video.format, on_event=report) as enhancer,
    ):
        decoder = Thread(target=decode, args=(media, enhancer, start))
        decoder.start()
        while decoder.is_alive() or enhancer.pending:
            result = enhancer.receive(timeout=0.02)
            if isinstance(result, Enhanced):
                time.sleep(max(0, start + float(result.pts) - time.monotonic()))
                screen.write(result.picture, result.pts)
        print(enhancer.stats(), file=sys.stderr)


def decode(media, enhancer: Enhancer, start: float) -> None:  # noqa: ANN001
    for item in media.events():
        if isinstance(item, SideData):
            enhancer.send_side_data(item.pts, item.records, clvs_start=item.clvs_start)
        else:
            due = start + float(item.pts)
            enhancer.send_frame(item.picture, item.pts, due=due, timeout=None)


def report(event) -> None:  # noqa: ANN001
    print(event.kind.value, event.nnpfc_id, event.reason, file=sys.stderr)


if __name__ == "__main__":
    play(sys.argv[1])
