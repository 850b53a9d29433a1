# SPDX-License-Identifier: Apache-2.0
"""A window and a loudspeaker by SDL 2; the only module that imports it.

SDL takes planes as they are and converts, scales and shows them with what the graphics hardware
has, and it plays sound and tells how much of it is left: all that keeping the two together needs.
OpenCV's windows know neither sound nor planes, and pygame wants every picture as RGB.
"""

from __future__ import annotations

import ctypes
import importlib
import warnings
from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from nnrvideo.container import CHANNELS, SAMPLE_RATE
from nnrvideo.errors import UnsupportedFeatureError
from nnrvideo.picture import Picture, Plane
from nnrvideo.player.screens import Command, CommandKind

_BYTES = SAMPLE_RATE * CHANNELS * 2  # a second of sound
_BUFFER = 1024  # samples that the device takes at a time
_LARGEST = 0.8  # share of the display that a new window may take
_SEEK = 10.0  # seconds
_FAR = 60.0


@final
class SdlScreen:
    """A window.

    Keys: space pauses, left and right seek 10 s, up and down a minute, s splits before | after
    under the pointer, i shows the state, e switches networks on and off, f is for the whole
    screen, q ends.

    Args:
        title: Shown above the window.

    Raises:
        UnsupportedFeatureError: SDL is not installed, or there is no display.
    """

    def __init__(self, title: str) -> None:
        self._sdl = _library()
        if self._sdl.SDL_InitSubSystem(self._sdl.SDL_INIT_VIDEO):
            raise _failure(self._sdl, "no display")
        self._title = title
        self._window: Any = None
        self._renderer: Any = None
        self._texture: Any = None
        self._size = (0, 0)

    def show(self, picture: Picture) -> None:
        """Shows a picture of 8 bits and 4:2:0, as large as the window with its own shape."""
        size = picture.format.width, picture.format.height
        if size != self._size:
            self._resize(*size)
        sdl = self._sdl
        planes = [np.ascontiguousarray(plane) for plane in picture.planes]
        arguments = [part for plane in planes for part in (_pointer(plane), plane.shape[1])]
        sdl.SDL_UpdateYUVTexture(self._texture, None, *arguments)
        sdl.SDL_RenderClear(self._renderer)
        sdl.SDL_RenderCopy(self._renderer, self._texture, None, None)
        sdl.SDL_RenderPresent(self._renderer)

    def commands(self) -> Sequence[Command]:
        """Keys, pointer and the window's own buttons."""
        sdl, event = self._sdl, self._sdl.SDL_Event()
        found: list[Command] = []
        while sdl.SDL_PollEvent(ctypes.byref(event)):
            if event.type == sdl.SDL_QUIT:
                found.append(Command(CommandKind.QUIT))
            elif event.type == sdl.SDL_KEYDOWN:
                found += self._key(event.key.keysym.sym)
            elif event.type == sdl.SDL_MOUSEMOTION and self._window is not None:
                width = ctypes.c_int()
                sdl.SDL_GetWindowSize(self._window, ctypes.byref(width), None)
                share = event.motion.x / max(1, width.value)
                found.append(Command(CommandKind.POINT, min(1.0, max(0.0, share))))
        return found

    def close(self) -> None:
        """Takes the window away."""
        if self._window is not None:
            self._sdl.SDL_DestroyWindow(self._window)
            self._window = None
        self._sdl.SDL_QuitSubSystem(self._sdl.SDL_INIT_VIDEO)

    def _key(self, key: int) -> list[Command]:
        sdl = self._sdl
        if key == sdl.SDLK_f and self._window is not None:
            whole = sdl.SDL_GetWindowFlags(self._window) & sdl.SDL_WINDOW_FULLSCREEN_DESKTOP
            mode = 0 if whole else sdl.SDL_WINDOW_FULLSCREEN_DESKTOP
            sdl.SDL_SetWindowFullscreen(self._window, mode)
            return []
        keys = {
            sdl.SDLK_q: Command(CommandKind.QUIT),
            sdl.SDLK_ESCAPE: Command(CommandKind.QUIT),
            sdl.SDLK_SPACE: Command(CommandKind.PAUSE),
            sdl.SDLK_s: Command(CommandKind.SPLIT),
            sdl.SDLK_i: Command(CommandKind.STATE),
            sdl.SDLK_e: Command(CommandKind.ENHANCE),
            sdl.SDLK_LEFT: Command(CommandKind.SEEK, -_SEEK),
            sdl.SDLK_RIGHT: Command(CommandKind.SEEK, _SEEK),
            sdl.SDLK_DOWN: Command(CommandKind.SEEK, -_FAR),
            sdl.SDLK_UP: Command(CommandKind.SEEK, _FAR),
        }
        return [keys[key]] if key in keys else []

    def _resize(self, width: int, height: int) -> None:
        """Makes the window, or only the texture where the film changes its size."""
        sdl = self._sdl
        if self._window is None:
            area = sdl.SDL_Rect()
            sdl.SDL_GetDisplayUsableBounds(0, ctypes.byref(area))
            fit = min(1.0, _LARGEST * area.w / width, _LARGEST * area.h / height)
            fit = fit if area.w else 1.0
            centre = sdl.SDL_WINDOWPOS_CENTERED
            flags = sdl.SDL_WINDOW_RESIZABLE
            title = self._title.encode()
            self._window = sdl.SDL_CreateWindow(
                title, centre, centre, int(width * fit), int(height * fit), flags
            )
            self._renderer = self._window and sdl.SDL_CreateRenderer(self._window, -1, 0)
            if not self._renderer:
                raise _failure(sdl, "no window")
        if self._texture is not None:
            sdl.SDL_DestroyTexture(self._texture)
        sdl.SDL_SetHint(b"SDL_RENDER_SCALE_QUALITY", b"linear")
        sdl.SDL_RenderSetLogicalSize(self._renderer, width, height)
        kind, access = sdl.SDL_PIXELFORMAT_IYUV, sdl.SDL_TEXTUREACCESS_STREAMING
        self._texture = sdl.SDL_CreateTexture(self._renderer, kind, access, width, height)
        if not self._texture:
            raise _failure(sdl, "the picture cannot be shown")
        self._size = width, height


@final
class SdlSpeaker:
    """The default loudspeaker.

    Raises:
        UnsupportedFeatureError: SDL is not installed, or there is no sound device.
    """

    def __init__(self) -> None:
        self._sdl = sdl = _library()
        if sdl.SDL_InitSubSystem(sdl.SDL_INIT_AUDIO):
            raise _failure(sdl, "no sound")
        wanted = sdl.SDL_AudioSpec(SAMPLE_RATE, sdl.AUDIO_S16SYS, CHANNELS, _BUFFER)
        self._device = sdl.SDL_OpenAudioDevice(None, 0, wanted, None, 0)
        if not self._device:
            raise _failure(sdl, "no sound device")

    def play(self, samples: npt.NDArray[np.int16]) -> None:
        """Appends sound."""
        data = samples.tobytes()
        self._sdl.SDL_QueueAudio(self._device, data, len(data))

    def waiting(self) -> float:
        """Seconds not heard yet; what the device has taken is in its buffer on average half."""
        queued: int = self._sdl.SDL_GetQueuedAudioSize(self._device)
        return queued / _BYTES + (_BUFFER / SAMPLE_RATE if queued else 0.0)

    def pause(self, *, paused: bool) -> None:
        """Stops, or goes on."""
        self._sdl.SDL_PauseAudioDevice(self._device, int(paused))

    def clear(self) -> None:
        """Forgets what has not been heard."""
        self._sdl.SDL_ClearQueuedAudio(self._device)

    def close(self) -> None:
        """Gives the device back."""
        self._sdl.SDL_CloseAudioDevice(self._device)
        self._sdl.SDL_QuitSubSystem(self._sdl.SDL_INIT_AUDIO)


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells which binaries it found
            return importlib.import_module("sdl2")
    except ImportError as error:
        raise UnsupportedFeatureError(
            f'a window needs SDL 2 ({error}): pip install "nnrvideo[play]", or --headless'
        ) from error


def _failure(sdl: Any, what: str) -> UnsupportedFeatureError:
    reason = sdl.SDL_GetError().decode("utf-8", "replace")
    return UnsupportedFeatureError(f"{what}: {reason}")


def _pointer(plane: Plane) -> Any:
    return plane.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
