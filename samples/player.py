# SPDX-License-Identifier: Apache-2.0
"""A whole player in forty lines: any decoder + the Enhancer, pictures to a pipe.

    python samples/player.py coded.mp4 | mpv -

The Enhancer takes messages in decoding order and pictures in display order, and gives back one
picture for each; what happens besides is told by events.
"""

import sys

from nnrvideo import Enhanced, Enhancer, SideData, Status, open_media, open_writer


def play(path: str) -> None:
    with (
        open_media(path) as media,
        open_writer("-", like=media.video) as screen,
        Enhancer(realtime=False, on_event=report) as enhancer,
    ):
        for item in media.events():
            if isinstance(item, SideData):
                enhancer.send_side_data(item.pts, item.records, clvs_start=item.clvs_start)
                continue
            while enhancer.send_frame(item.picture, item.pts) is Status.AGAIN:
                show(enhancer, screen, wait=True)
            show(enhancer, screen)
        enhancer.drain()
        while show(enhancer, screen, wait=True):
            pass
        print(enhancer.stats(), file=sys.stderr)


def show(enhancer: Enhancer, screen, *, wait: bool = False) -> bool:  # noqa: ANN001
    result = enhancer.receive(timeout=None if wait else 0)
    if not isinstance(result, Enhanced):
        return False
    screen.write(result.picture, result.pts)
    return True


def report(event) -> None:  # noqa: ANN001
    print(event.kind.value, event.nnpfc_id, event.reason, file=sys.stderr)


if __name__ == "__main__":
    play(sys.argv[1])
