# SPDX-License-Identifier: Apache-2.0
"""``nnrvideo pack``: ONNX or npz -> NNC bitstream."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from nnrvideo.cli.args import add_common, add_json, add_overwrite, check_output
from nnrvideo.cli.coding import add_coding, coding_settings, load_tensors
from nnrvideo.cli.exits import Exit, UsageError
from nnrvideo.cli.report import human_bytes, print_json, print_pairs
from nnrvideo.files import write_bytes
from nnrvideo.limits import Limits

if TYPE_CHECKING:
    from nnrvideo.model import ModelCard, Network, Scaled, TopologyForm
    from nnrvideo.nnc import EncodeSettings, ModelParameterSet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("input", metavar="IN", type=Path, help="network: .onnx or .npz")
    parser.add_argument(
        "-o", dest="output", metavar="OUT.nnc", type=Path, required=True, help="NNC bitstream"
    )
    coding = add_coding(parser)
    coding.add_argument(
        "--lossless", action="store_true", help="keep every weight and its type, bit for bit"
    )
    coding.add_argument(
        "--blocks",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="bias and batch normalisation travel in the unit of their weight (default: on)",
    )
    coding.add_argument(
        "--fold-bn",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="take batch normalisation into the weights and biases before it, which gives the "
        "same output and less to send; updates must then be of the folded network (default: off)",
    )
    coding.add_argument(
        "--correct",
        type=Path,
        metavar="CALIBRATION",
        help="send scales and biases that bring each layer's mean and spread back to those of "
        "the original on these inputs: .npy or .npz arrays, or a film for networks that filter "
        "pictures (for coarse QPs and few bits; left out where it does not pay)",
    )
    coding.add_argument(
        "--layers",
        type=_layers,
        default=(),
        metavar="BITS,...",
        help="scalable: bits of a base layer and of each layer that refines it, e.g. 4,2,2; the "
        "stream may be cut after any layer (then --qp has no effect)",
    )
    coding.add_argument(
        "--topology",
        choices=("onnx", "text", "none"),
        default=None,
        help="how the graph travels with the weights: as the standard has it (onnx), as text for "
        "readers that refuse binary topology, or not at all (default: onnx; none for npz)",
    )
    coding.add_argument(
        "--ids",
        choices=("names", "short"),
        default="names",
        help="how tensors are named: by the graph's names, or by short indices into the graph, "
        "which receivers of other make do not know (default: %(default)s)",
    )
    coding.add_argument(
        "--performance-map",
        metavar="FILE.json",
        type=Path,
        default=None,
        help="what the network performs, and how sparser, pruned or otherwise smaller forms would, "
        "for receivers to choose by; the form is that of `probe --json`, under performance",
    )
    parser.add_argument(
        "--card",
        metavar="CARD.json",
        type=Path,
        help="model card: completed with hashes and sizes it goes to OUT.nnc.card.json",
    )
    parser.add_argument(
        "--embed-card",
        action="store_true",
        help="send the card in the graph, too, with every copy of the network (about 2 kB)",
    )
    add_overwrite(parser)
    add_json(parser)
    add_common(parser)


def execute(options: argparse.Namespace) -> int:
    """Runs the verb."""
    from nnrvideo import model, nnc
    from nnrvideo.metrics import weight_error

    output = check_output(options.output, overwrite=options.overwrite)
    settings = coding_settings(options, lossless=options.lossless)
    network, tensors = load_tensors(options.input, finite=not options.lossless)
    topology = options.topology or ("none" if network is None else "onnx")
    if network is None and topology != "none":
        raise UsageError(f"{options.input} has no graph, so --topology {topology} is impossible")
    if network is None and (options.fold_bn or options.correct):
        raise UsageError(f"{options.input} has no graph, which --fold-bn and --correct need")
    if options.lossless and (options.fold_bn or options.correct):
        raise UsageError("--fold-bn and --correct change weights, so they are not lossless")
    if options.correct and (options.layers or not options.blocks):
        raise UsageError("--correct sends scales, which --layers and --no-blocks have no place for")
    if topology == "none" and options.ids == "short":
        raise UsageError("--ids short needs a graph in the stream: --topology onnx or text")
    if options.layers and options.lossless:
        raise UsageError("--layers and --lossless exclude each other")
    card = _card(options, topology)
    parameters = _performance(options.performance_map)
    if network is not None:
        if card is not None and options.embed_card:
            network = model.with_card(network, card)
        network, sent, settings = _prepared(options, network, settings)
        tensors = network.tensors
        packed = model.pack(
            sent,
            settings,
            topology=cast("TopologyForm", topology),
            blocks=options.blocks,
            layers=options.layers,
            ids=options.ids,
            parameters=parameters,
        )
    elif options.layers:
        parts = nnc.encode_layers(tensors, options.layers, settings, parameters=parameters)
        packed = b"".join(parts)
    else:
        packed = nnc.encode(tensors, settings, parameters=parameters)
    write_bytes(output, packed, overwrite=options.overwrite)
    if card is not None:
        bound = model.bind_card(card, packed)
        model.save_card(bound, output, overwrite=options.overwrite)

    # What a receiver will see, from the bytes that were written.
    received = model.unpack(packed, limits=Limits.offline())
    exact = received.tensors if network is None else network.with_tensors(received.tensors).tensors
    error = weight_error(tensors, exact)
    original_bytes = model.stored_bytes(tensors)
    facts = {
        "input": str(options.input),
        "output": str(output),
        "tensors": len(tensors),
        "parameters": tensors.parameters,
        "original_bytes": original_bytes,
        "nnc_bytes": len(packed),
        "ratio": round(original_bytes / len(packed), 3),
        "max_abs_error": error.max_abs_error,
        "weight_snr_db": error.snr_db,
        "topology": topology,
    }
    if options.json:
        print_json(facts)
    elif not options.quiet:
        print_pairs(
            f"{options.input} -> {output}",
            {
                "network": f"{len(tensors)} tensors, {tensors.parameters} parameters",
                "size": f"{human_bytes(original_bytes)} -> {human_bytes(len(packed))} "
                f"({facts['ratio']} to 1)",
                "largest error": f"{error.max_abs_error:.3g}",
                "weight SNR": "exact" if error.snr_db is None else f"{error.snr_db:.1f} dB",
                "topology": topology,
            },
        )
    return Exit.OK


def _prepared(
    options: argparse.Namespace, network: Network, settings: EncodeSettings
) -> tuple[Network, Network | Scaled, EncodeSettings]:
    """The network that a receiver shall come near to, and what to send with which settings."""
    from nnrvideo import model

    if options.fold_bn:
        network = model.fold_batch_norm(network).multiplied()
    if options.correct is None:
        return network, network, settings
    from nnrvideo.authoring import calibration_inputs
    from nnrvideo.runtime import OnnxRuntimeBackend

    inputs = calibration_inputs(network, options.correct, limits=Limits.offline())
    scaled, settings = model.correct(network, settings, inputs, OnnxRuntimeBackend())
    return scaled.network, scaled, settings


def _card(options: argparse.Namespace, topology: str) -> ModelCard | None:
    """The card that was given; checked before any work is done."""
    from nnrvideo import model

    if options.card is None:
        if options.embed_card:
            raise UsageError("--embed-card needs --card")
        return None
    if options.embed_card and topology == "none":
        raise UsageError("--embed-card needs a graph in the stream: --topology onnx or text")
    check_output(model.card_path(options.output), overwrite=options.overwrite)
    return model.ModelCard.from_text(options.card.read_bytes())


def _performance(path: Path | None) -> ModelParameterSet | None:
    """What a JSON file says about the network."""
    from nnrvideo import nnc

    if path is None:
        return None
    try:
        return nnc.performance_from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:  # of the decoders of UTF-8 and JSON, too
        raise UsageError(f"{path}: {error}") from error


def _layers(text: str) -> tuple[int, ...]:
    """Bits of layers, as in ``4,2,2``."""
    from nnrvideo.nnc.layers import MAX_LAYER_BITS

    try:
        bits = tuple(int(part) for part in text.split(","))
    except ValueError:
        bits = ()
    if not bits or not all(1 <= each <= MAX_LAYER_BITS for each in bits):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of layers, each of 1 to {MAX_LAYER_BITS} bits, such as 4,2,2"
        )
    return bits
