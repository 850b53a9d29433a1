# SPDX-License-Identifier: Apache-2.0
"""Every figure of a sequence in one meter: pictures go through, figures stay.

What is kept for each picture is a handful of numbers, so a film of any length can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, final

from nnrvideo.metrics.flicker import Flicker, FlickerMeter
from nnrvideo.metrics.psnr import PsnrMeter
from nnrvideo.metrics.ssim import MS_SSIM_MIN_SIDE, ssim, ssim_and_ms_ssim
from nnrvideo.metrics.vmaf import VmafError, VmafMeter, VmafTool
from nnrvideo.picture import Picture

PSNR_CAP = 100.0  # dB; what a picture without any error counts in a mean over pictures


@final
@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of a sequence against its source; None for what was not or cannot be measured."""

    psnr_y: float  # dB, of the squared error of the whole sequence
    psnr_cb: float | None = None  # dB; None for pictures without chroma
    psnr_cr: float | None = None
    psnr_y_mean: float | None = None  # dB, mean over pictures, each at most PSNR_CAP
    ssim_y: float | None = None  # mean over pictures
    ms_ssim_y: float | None = None  # mean over pictures
    vmaf: float | None = None  # mean over pictures, 0 to 100
    vmaf_neg: float | None = None
    flicker: float | None = None  # 8-bit levels, see FlickerMeter
    static_flicker: float | None = None


@final
@dataclass(frozen=True, slots=True)
class PictureQuality:
    """Figures of one picture."""

    squared_error: int  # of luma, summed
    samples: int  # of luma
    ssim_y: float | None
    vmaf: float | None = None
    ms_ssim_y: float | None = None
    flicker: Flicker | None = None  # against the picture before; None without one in the scene


@final
@dataclass(frozen=True, slots=True)
class SequenceResult:
    """What a :class:`SequenceMeter` found."""

    quality: Quality
    pictures: tuple[PictureQuality, ...]
    absent: dict[str, str] = field(default_factory=dict)  # metric -> why it has no figure
    vmaf_model: str | None = None
    libvmaf_version: str | None = None


@final
class SequenceMeter:
    """Measures a sequence, picture by picture.

    Args:
        structure: Measure SSIM and, where the picture is large enough, MS-SSIM.
        flicker: Measure temporal stability.
        vmaf: Program for VMAF and VMAF-NEG; None leaves them out.
        threads: Threads of libvmaf.
    """

    def __init__(
        self,
        *,
        structure: bool = True,
        flicker: bool = True,
        vmaf: VmafTool | None = None,
        threads: int = 1,
    ) -> None:
        self._psnr = PsnrMeter()
        self._structure = structure
        self._wants_flicker = flicker
        self._tool = vmaf
        self._threads = threads
        self._vmaf: VmafMeter | None = None
        self._flicker: FlickerMeter | None = None
        self._ssim: list[float] = []
        self._ms_ssim: list[float] = []
        self._changes: list[Flicker | None] = []
        self._absent: dict[str, str] = {}

    @property
    def pictures(self) -> int:
        """Pictures measured so far."""
        return self._psnr.pictures

    def add(self, reference: Picture, picture: Picture, *, new_scene: bool = False) -> None:
        """Measures one more picture.

        Args:
            reference: The original.
            picture: What became of it, in the same format.
            new_scene: There is a cut before it.

        Raises:
            ValueError: Formats differ, from each other or from the pictures before.
        """
        first = self._psnr.pictures == 0
        self._psnr.add(reference, picture)
        if first:
            self._start(reference)
        wanted, got = reference.planes[0], picture.planes[0]
        if self._structure and "ssim_y" not in self._absent:
            if "ms_ssim_y" in self._absent:
                self._ssim.append(ssim(wanted, got, reference.bit_depth))
            else:
                fine, multi = ssim_and_ms_ssim(wanted, got, reference.bit_depth)
                self._ssim.append(fine)
                self._ms_ssim.append(multi)
        if self._flicker is not None:
            self._changes.append(self._flicker.add(wanted, got, new_scene=new_scene))
        if self._vmaf is not None:
            try:
                self._vmaf.add(wanted, got)
            except VmafError as error:
                self._lose_vmaf(error)

    def finish(self) -> SequenceResult:
        """All figures; ends the meter.

        Raises:
            ValueError: No picture was added.
        """
        psnr = self._psnr.planes()
        scores = None
        if self._vmaf is not None:
            try:
                scores = self._vmaf.finish()
            except VmafError as error:
                self._lose_vmaf(error)
        by_picture = self._psnr.by_picture()
        flicker = self._flicker
        quality = Quality(
            psnr_y=psnr[0],
            psnr_cb=psnr[1] if len(psnr) > 1 else None,
            psnr_cr=psnr[2] if len(psnr) > 1 else None,
            psnr_y_mean=_mean([min(value, PSNR_CAP) for value in by_picture]),
            ssim_y=_mean(self._ssim),
            ms_ssim_y=_mean(self._ms_ssim),
            vmaf=scores.vmaf if scores else None,
            vmaf_neg=scores.vmaf_neg if scores else None,
            flicker=flicker.flicker() if flicker else None,
            static_flicker=flicker.static_flicker() if flicker else None,
        )
        samples = self._psnr.luma_samples
        pictures = tuple(
            PictureQuality(
                error,
                samples,
                self._ssim[index] if self._ssim else None,
                scores.vmaf_by_picture[index] if scores else None,
                self._ms_ssim[index] if self._ms_ssim else None,
                self._changes[index] if self._changes else None,
            )
            for index, error in enumerate(self._psnr.luma_errors)
        )
        return SequenceResult(
            quality,
            pictures,
            dict(self._absent),
            scores.model if scores else None,
            scores.libvmaf_version if scores else None,
        )

    def close(self) -> None:
        """Ends the program for VMAF if it still runs; harmless after :meth:`finish`."""
        if self._vmaf is not None:
            self._vmaf.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start(self, picture: Picture) -> None:
        side = min(picture.width, picture.height)
        if self._structure and side < MS_SSIM_MIN_SIDE:
            self._absent["ms_ssim_y"] = f"pictures are smaller than {MS_SSIM_MIN_SIDE} samples"
            if side < 11:
                self._absent["ssim_y"] = "pictures are smaller than 11 samples"
        if self._wants_flicker:
            self._flicker = FlickerMeter(picture.bit_depth)
        if self._tool is not None:
            try:
                self._vmaf = VmafMeter(
                    self._tool,
                    picture.width,
                    picture.height,
                    picture.bit_depth,
                    threads=self._threads,
                )
            except VmafError as error:
                self._lose_vmaf(error)

    def _lose_vmaf(self, error: VmafError) -> None:
        self._absent["vmaf"] = self._absent["vmaf_neg"] = str(error)
        if self._vmaf is not None:
            self._vmaf.close()
            self._vmaf = None


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
