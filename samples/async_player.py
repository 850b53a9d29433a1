# SPDX-License-Identifier: Apache-2.0
"""The Enhancer in an asyncio program: nothing blocks the loop.

    python samples/async_player.py coded.mp4

The enhancer has threads of its own, so a coroutine only has to wait elsewhere: one feeds it, the
other awaits pictures, and whatever else the program does goes on meanwhile.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

from nnrvideo import Enhanced, Enhancer, SideData, open_media


async def feed(path: str, enhancer: Enhancer) -> None:
    with open_media(path) as media:
        events = media.events()
        while (item := await asyncio.to_thread(next, events, None)) is not None:
            if isinstance(item, SideData):
                enhancer.send_side_data(item.pts, item.records, clvs_start=item.clvs_start)
            else:
                await asyncio.to_thread(enhancer.send_frame, item.picture, item.pts, timeout=None)


async def enhanced(path: str) -> AsyncIterator[Enhanced]:
    with Enhancer(workers=2) as enhancer:
        feeder = asyncio.create_task(feed(path, enhancer))
        while not feeder.done() or enhancer.pending:
            result = await asyncio.to_thread(enhancer.receive, 0.05)
            if isinstance(result, Enhanced):
                yield result
        await feeder  # raises what went wrong in decoding


async def main(path: str) -> None:
    async for result in enhanced(path):
        size = result.picture.format
        how = "network" if result.info.enhanced else f"plain, {result.info.reason}"
        print(f"{float(result.pts):.3f} s: {size.width}x{size.height}, {how}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
