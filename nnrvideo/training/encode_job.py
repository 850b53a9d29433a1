# SPDX-License-Identifier: Apache-2.0
"""The job kind ``encode``: one title, as ``nnrvideo encode`` does it; needs PyTorch to train only.

Arguments are those of the verb.  What a stranger's list may say to an encoder is bounded: options
that the verb has, and no parameter that makes an encoder read or write files of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from nnrvideo.data import network_file
from nnrvideo.jobs import JSON, Field, Kind
from nnrvideo.training.kinds import LEVELS, MODES, SPEEDS, TARGETS, TIERS, TRAINING_OPTIONS

SUFFIXES: Final = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".ts", ".m2ts", ".ivf", ".obu"}
    | {".h264", ".264", ".avc", ".h265", ".265", ".hevc"}
)
#: Options of encoders and muxers, as ffmpeg spells them without the dash.
OPTIONS: Final = frozenset(
    {"crf", "b:v", "maxrate", "bufsize", "preset", "tune", "profile:v", "g", "bf", "pix_fmt"}
    | {"x264-params", "x265-params", "svtav1-params", "movflags"}
)

_CRF: Final = "22"
# Parameters of x264, x265 and SVT-AV1 that name files, besides those with "file" in the name.
_FILE_PARAMETERS: Final = frozenset(
    {"analysis-load", "analysis-save", "aom-film-grain", "config", "csv", "dhdr10-info"}
    | {"dolby-vision-rpu", "dump-yuv", "errlog", "fgs-table", "film-grain", "input"}
    | {"opencl-clbin", "output", "recon", "scaling-list", "stats"}
)


def check_arguments(arguments: Mapping[str, JSON]) -> None:
    """What no field can tell by itself.

    Raises:
        ValueError: Names the argument and what is wrong with it.
    """
    mode = arguments.get("mode", "base")
    if mode == "base":
        for name in TRAINING_OPTIONS:
            if name in arguments:
                raise ValueError(f"{name}: is for training; mode 'base' trains nothing")
    target = arguments.get("target")
    if isinstance(target, str) and Path(target).suffix.lower() not in SUFFIXES:
        raise ValueError(f"target: the suffix must be out of {', '.join(sorted(SUFFIXES))}")
    if "duration" in arguments and isinstance(arguments["duration"], str):
        _seconds(arguments["duration"])
    options = arguments.get("options")
    for name, value in options.items() if isinstance(options, dict) else ():
        _check_option(name, str(value))


def _check_option(name: str, value: str) -> None:
    if name not in OPTIONS:
        raise ValueError(f"options: there is no {name!r}; there are {', '.join(sorted(OPTIONS))}")
    if not name.endswith("-params"):
        return
    for part in value.split(":"):
        key, _, given = part.partition("=")
        key = key.strip().lower().replace("_", "-").removeprefix("no-")
        if key in _FILE_PARAMETERS or "file" in key or set(given) & {"/", "\\"}:
            raise ValueError(f"options: {name}: {part!r} makes the encoder read or write a file")


def run(arguments: Mapping[str, JSON], folder: Path) -> Mapping[str, JSON]:
    """Encodes a title.

    Args:
        arguments: Of :data:`ENCODE`.
        folder: Where ``target`` goes.

    Returns:
        ``files``: the target; ``mode``; for a network that was given ``pictures``, ``source`` and
        ``coded`` size, ``network_bytes`` and ``copies``; for networks that were trained what
        :class:`nnrvideo.training.title.TitleReport` tells.

    Raises:
        ContainerError: The source cannot be read, or the encoder refuses.
        CarriageError: The codec has no place for a network.
        ModelError: The network does not fit.
        ImportError: Training needs PyTorch.
    """
    given: Any = dict(arguments)
    common = {
        "codec": given.get("codec", "libx265"),
        "options": _options(given.get("options", {})),
        "overwrite": True,  # what lies there is an earlier attempt at this job
        "duration": _seconds(given["duration"]) if "duration" in given else None,
    }
    target = folder / given["target"]
    does = _with_given_network if given.get("mode", "base") == "base" else _with_own_network
    facts = does(given, Path(given["source"]), target, common)
    return {"mode": given.get("mode", "base"), **facts, "files": [target.name]}


def _options(given: Mapping[str, str]) -> dict[str, str]:
    """As on the command line: constant quality, unless a bit rate is given."""
    return dict(given) if "b:v" in given else {"crf": _CRF, **given}


def _seconds(text: str | float) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"duration: must be a number of seconds, not {text!r}") from None
    if value <= 0:
        raise ValueError(f"duration: must be positive, not {text}")
    return value


def _with_given_network(
    given: Mapping[str, Any], source: Path, target: Path, common: Mapping[str, Any]
) -> dict[str, JSON]:
    from nnrvideo import model
    from nnrvideo.authoring import encode
    from nnrvideo.data import base_network

    network = Path(given["network"]).read_bytes() if "network" in given else base_network()
    contract = model.infer_contract(model.unpack(network).require_network())
    report = encode(source, target, network, contract, **common)
    reduced = report.reduced
    return {
        "pictures": reduced.pictures,
        "source": [reduced.source.width, reduced.source.height],
        "coded": [reduced.coded.width, reduced.coded.height],
        "cropped": list(reduced.cropped),
        "dropped": list(reduced.dropped),
        "network_bytes": len(network),
        "copies": report.embedded.positions,
    }


def _with_own_network(
    given: Mapping[str, Any], source: Path, target: Path, common: Mapping[str, Any]
) -> dict[str, JSON]:
    from nnrvideo.training.title import encode_title, settings_of

    settings = settings_of(given["mode"], given)
    facts: dict[str, JSON] = encode_title(
        source,
        target,
        settings,
        base=Path(given["network"]).read_bytes() if "network" in given else None,
        **common,
    ).to_json()
    del facts["training_seconds"]  # not the same each time
    return facts


#: What a job list calls ``encode``.
ENCODE: Final = Kind(
    run,
    {
        "source": Field("file", required=True),
        "target": Field("name", required=True),
        "network": Field("file", find=network_file),
        "mode": Field("text", choices=("base", *MODES, "auto")),
        "metric": Field("text", choices=TARGETS),
        "speed": Field("text", choices=SPEEDS),
        "budget": Field("number"),
        "complexity_limit": Field("number"),
        "updates": Field("texts", choices=LEVELS),
        "repeat": Field("text"),
        "passes": Field("integer", choices=(1, 2)),
        "tiers": Field("texts", choices=TIERS),
        "steps": Field("integer"),
        "seed": Field("integer"),
        "threads": Field("integer"),
        "duration": Field("text"),
        "codec": Field("text"),
        "options": Field("map"),
    },
    version=2,  # with another shipped network
    check=check_arguments,
)
