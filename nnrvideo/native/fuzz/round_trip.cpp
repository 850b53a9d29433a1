// SPDX-License-Identifier: Apache-2.0
// Any levels under any specification survive coding, with every choice an encoder has. Levels that
// the specification cannot carry are refused with argument_error and nothing else.
#include <algorithm>
#include <utility>

#include "fuzz.h"
#include "nnrcore/search.h"
#include "nnrcore/tables.h"

namespace {

// One tensor to be coded; kept where it is, the choices point into it.
struct Case {
    fuzz::Tensor tensor;
    std::vector<std::int32_t> levels;
    std::vector<std::uint8_t> skipped;
    std::vector<std::uint8_t> indices;
    nnrcore::TensorChoices choices;
    std::int64_t delta = 0;  // a number before the tensor, as qp_delta is
};

std::int32_t draw_level(fuzz::Input& input, std::int64_t lowest, std::int64_t highest) {
    const int first = input.byte();
    std::int64_t level = first < 192 ? (first % 3 ? 0 : first / 3 % 16 - 8) : first - 224;
    if (first == 255) level = static_cast<std::int32_t>(input.word());
    if (first == 254) level = highest - input.below(3);
    if (first == 253) level = lowest + input.below(3);
    return static_cast<std::int32_t>(std::clamp(level, lowest, highest));
}

// Draws levels in coding order. Dependent quantisation needs the order: the state that a value
// starts from decides which levels there are. Written from the scan's definition, not from the
// coder (spec/nnc.md §9.3, §10), so that the two check each other.
void draw_levels(fuzz::Input& input, Case& one) {
    const nnrcore::TensorSpec& spec = one.tensor.spec;
    one.levels.assign(spec.elements(), 0);
    const std::int64_t size = spec.binarisation_codebook_size();
    const std::int64_t zero = spec.codebook_zero_offset;
    if (size == 1 || one.levels.empty()) return;
    const bool blocks = spec.scan_order && spec.rows > 1 && spec.cols > 1;
    const std::int64_t height = blocks ? std::int64_t{4} << spec.scan_order : spec.rows;
    const std::int64_t width = blocks ? height : spec.cols;
    unsigned state = 0;
    for (std::int64_t top = 0; top < spec.rows; top += height) {
        for (std::int64_t left = 0; left < spec.cols; left += width) {
            for (std::int64_t row = top; row < std::min(top + height, spec.rows); ++row) {
                if (!one.skipped.empty() && one.skipped[static_cast<std::size_t>(row)]) {
                    for (std::int64_t i = 0; i < spec.cols; ++i) state = nnrcore::kDqNext[state][0];
                    continue;
                }
                for (std::int64_t col = left; col < std::min(left + width, spec.cols); ++col) {
                    const bool odd = spec.dq_flag && state & 1;
                    // The largest k whose level 2 k (less one in an odd state) has 31 bits.
                    std::int64_t highest = nnrcore::kMaxLevel;
                    if (spec.dq_flag) highest = highest / 2 + odd;
                    std::int64_t lowest = -highest;
                    if (size) lowest = -zero, highest = std::min(highest, size - 1 - zero);
                    const std::int64_t k = draw_level(input, lowest, highest);
                    const std::int64_t level = k > 0 ? 2 * k - odd : k < 0 ? 2 * k + odd : 0;
                    one.levels[static_cast<std::size_t>(row * spec.cols + col)] =
                        static_cast<std::int32_t>(spec.dq_flag ? level : k);
                    state = nnrcore::kDqNext[state][k & 1];
                }
            }
        }
    }
}

bool draw(fuzz::Input& input, Case& one) {
    if (!fuzz::draw(input, one.tensor)) return false;
    const nnrcore::TensorSpec& spec = one.tensor.spec;
    const std::uint8_t flags = input.byte();
    fuzz::Noise noise(input.byte());
    one.delta = static_cast<std::int8_t>(input.byte());
    if (spec.has_skip_flags()) {
        one.choices.hist_dep_sig_prob_enabled_flag =
            (flags & 1) && spec.parent_node_id_present_flag && spec.history.data;
        if (flags & 2) {
            one.skipped.resize(static_cast<std::size_t>(spec.rows));
            for (auto& flag : one.skipped) flag = noise.next() >> 8 & 1;
            one.choices.row_skip_flags = fuzz::view(std::as_const(one.skipped));
        }
    }
    draw_levels(input, one);
    if (flags & 4) {
        one.indices = nnrcore::search_init_indices(
            spec, fuzz::view(std::as_const(one.levels)),
            one.choices);
        if (flags & 8) {  // as many as the search found, but any
            for (auto& index : one.indices) index = noise.next() >> 8 & 7;
        }
        one.choices.init_indices = {one.indices.data(), one.indices.size()};
    }
    return true;
}

// Breaks a case; whether the coder can still carry it is for the coder to say.
void spoil(fuzz::Input& input, Case& one) {
    const auto any = static_cast<std::int32_t>(input.word());
    const std::size_t at = input.word();
    switch (input.below(8)) {
        case 0:
            if (!one.levels.empty()) one.levels[at % one.levels.size()] = any;
            break;
        case 1:
            if (!one.skipped.empty()) one.skipped[at % one.skipped.size()] ^= 1;
            break;
        case 2:
            if (!one.indices.empty()) one.indices[at % one.indices.size()] = input.byte();
            break;
        case 3:
            one.levels.resize(at % (one.levels.size() + 2));
            break;
        case 4:
            if (!one.levels.empty()) one.levels[at % one.levels.size()] = INT32_MIN;
            break;
        case 5:
            one.indices.resize(at % (one.indices.size() + 2));
            one.choices.init_indices = {one.indices.data(), one.indices.size()};
            break;
        case 6:
            one.choices.hist_dep_sig_prob_enabled_flag ^= true;
            break;
        default:
            one.skipped.resize(at % (one.skipped.size() + 2));
            one.choices.row_skip_flags = fuzz::view(std::as_const(one.skipped));
            break;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::uint8_t head = input.byte();
    std::vector<Case> cases(1 + head % 3u);
    for (auto& one : cases) {
        if (!draw(input, one)) return 0;
    }
    const bool spoilt = head >= 0xc0;
    if (spoilt) spoil(input, cases.back());

    nnrcore::Encoder encoder;
    try {
        for (auto& one : cases) {
            encoder.iae(one.delta, 8);
            const auto levels = fuzz::view(std::as_const(one.levels));
            encoder.tensor(one.tensor.spec, levels, one.choices);
            fuzz::promise(nnrcore::estimate_cost(one.tensor.spec, levels, one.choices) >= 0,
                          "no tensor costs less than nothing");
        }
    } catch (const nnrcore::argument_error&) {
        fuzz::promise(spoilt, "legal levels and choices are coded");
        return 0;
    }
    std::vector<std::uint8_t> codeword = encoder.terminate();
    const std::size_t length = codeword.size();
    // What follows a codeword is not the decoder's: it must neither read it as its own nor need it.
    codeword.resize(length + input.left() % 5, 0xa5);

    nnrcore::Decoder decoder(codeword.data(), codeword.size());
    const auto points = encoder.entry_points();
    for (std::size_t at = 0; at < cases.size(); ++at) {
        const Case& one = cases[at];
        fuzz::promise(decoder.iae(8) == one.delta, "numbers survive");
        fuzz::Found found(one.tensor.spec);
        found.read(decoder, one.tensor.spec);
        fuzz::promise(found.levels == one.levels, "levels survive");
        fuzz::promise(found.result.hist_dep_sig_prob_enabled_flag ==
                          one.choices.hist_dep_sig_prob_enabled_flag,
                      "hist_dep_sig_prob_enabled_flag survives");
        const bool has_flags = one.choices.row_skip_flags.data != nullptr;
        fuzz::promise(found.result.row_skip_enabled_flag == has_flags, "row skipping survives");
        fuzz::promise(!has_flags || found.skipped == one.skipped, "row skip flags survive");
        const bool given = !one.indices.empty();
        fuzz::promise(given ? found.indices == one.indices
                            : std::all_of(found.indices.begin(), found.indices.end(),
                                          [](std::uint8_t index) { return index == 0; }),
                      "initialisation indices survive");
        fuzz::promise(fuzz::same(found.points, points[at]), "entry points are those of the encoder");
    }
    fuzz::promise(decoder.terminate() == length, "the codeword is consumed to its last byte");
    return 0;
}
