// SPDX-License-Identifier: Apache-2.0
// Any codeword under any specification: it is decoded or refused with bitstream_error. What is
// accepted leaves an encoder no freedom but the choices found, so coding it again must give the
// same bytes; a decoder that misreads anything, or takes what no encoder writes, fails that.
#include "fuzz.h"

namespace {

enum class Kind { tensor, unsigned_bits, signed_bits, bins };

// One call, what it is asked for, and what it gave.
struct Step {
    Kind kind;
    fuzz::Tensor tensor;
    int bits = 0;
    std::size_t slot = 0;
    int index = 0;
    std::int64_t value = 0;
    std::vector<fuzz::Found> found;  // at most one; a Found needs its specification
};

bool draw(fuzz::Input& input, Step& step) {
    const int kind = input.below(8);  // half of the steps are tensors: they hold most code
    step.kind = kind < 4 ? Kind::tensor : static_cast<Kind>(kind % 3 + 1);
    if (step.kind == Kind::tensor) return fuzz::draw(input, step.tensor);
    step.bits = 1 + input.below(32);
    step.slot = input.byte();
    step.index = input.below(nnrcore::kInitIndices);
    return true;
}

// Bins of one context, as the lock-step tests read them.
constexpr int kUnaryLength = 7;
constexpr std::size_t kSlots = 24 + 16 + 8 + 3 + 2 + 4 * kUnaryLength + 32 + 2;

void decode(nnrcore::Decoder& decoder, Step& step) {
    switch (step.kind) {
        case Kind::tensor:
            step.found.emplace_back(step.tensor.spec);
            step.found[0].read(decoder, step.tensor.spec);
            break;
        case Kind::unsigned_bits:
            step.value = decoder.uae(step.bits);
            break;
        case Kind::signed_bits:
            step.value = decoder.iae(step.bits);
            break;
        case Kind::bins:
            decoder.reset_contexts(kUnaryLength);
            decoder.initialise_context(step.slot % kSlots, step.index);
            for (int i = 0; i < step.bits; ++i) {
                step.value = step.value << 1 | decoder.ae(step.slot % kSlots);
            }
            break;
    }
}

void encode(nnrcore::Encoder& encoder, const Step& step) {
    switch (step.kind) {
        case Kind::tensor:
            encoder.tensor(step.tensor.spec, fuzz::view(step.found[0].levels),
                           step.found[0].choices());
            break;
        case Kind::unsigned_bits:
            encoder.uae(static_cast<std::uint32_t>(step.value), step.bits);
            break;
        case Kind::signed_bits:
            encoder.iae(step.value, step.bits);
            break;
        case Kind::bins:
            encoder.reset_contexts(kUnaryLength);
            encoder.initialise_context(step.slot % kSlots, step.index);
            for (int i = step.bits; i-- > 0;) {
                encoder.ae(static_cast<unsigned>(step.value >> i & 1), step.slot % kSlots);
            }
            break;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    std::vector<Step> steps(static_cast<std::size_t>(input.below(5)));
    for (auto& step : steps) {
        if (!draw(input, step)) return 0;
    }
    const std::vector<std::uint8_t> codeword = input.rest();
    std::size_t consumed = 0;
    try {
        nnrcore::Decoder decoder(codeword.data(), codeword.size());
        for (auto& step : steps) decode(decoder, step);
        consumed = decoder.terminate();
    } catch (const nnrcore::bitstream_error& error) {
        fuzz::promise(error.bit >= 0, "a fault has a place");
        return 0;
    }  // argument_error is not caught: no bitstream may cause it
    fuzz::promise(consumed <= codeword.size(), "a codeword ends inside its data");

    nnrcore::Encoder encoder;
    for (const auto& step : steps) encode(encoder, step);
    const auto& again = encoder.terminate();
    fuzz::promise(again.size() == consumed, "what was accepted can be written in the same size");
    fuzz::promise(std::equal(again.begin(), again.end(), codeword.begin()),
                  "what was accepted can be written again");
    const auto points = encoder.entry_points();
    std::size_t at = 0;
    for (const auto& step : steps) {
        if (step.kind != Kind::tensor) continue;
        fuzz::promise(fuzz::same(points[at++], step.found[0].points), "the same entry points");
    }
    return 0;
}
