// SPDX-License-Identifier: Apache-2.0
// The encoder's searches: whatever values they are given, what they find is legal. Values or
// arguments that are out of range, and only those, are refused with argument_error.
#include <cmath>
#include <cstring>

#include "fuzz.h"
#include "nnrcore/search.h"
#include "nnrcore/tables.h"
#include "nnrcore/trellis.h"

namespace {

struct Arguments {
    std::vector<float> scaled;
    double lambda = 0.0;
    int unary_length = 10;

    bool legal() const {
        for (const float value : scaled) {
            if (!(std::fabs(static_cast<double>(value)) + 4.0 <= 2147483647.0)) return false;
        }
        return std::isfinite(lambda) && lambda >= 0.0 && unary_length >= 1 &&
               unary_length <= nnrcore::kMaxUnaryLength;
    }
};

template <class Float, class Bits>
Float as_float(Bits bits) {
    static_assert(sizeof(Float) == sizeof(Bits));
    Float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

Arguments draw(fuzz::Input& input) {
    Arguments made;
    const int kind = input.below(8);
    const int number = input.byte();
    if (kind >= 4) made.lambda = number / 32.0;
    if (kind == 3) made.lambda = std::ldexp(number - 1, number / 4 - 32);  // 2^-32 to 2^39, or -1
    if (kind == 2) {
        const std::uint64_t high = input.word();
        made.lambda = as_float<double>(high << 32 | input.word());
    }
    const int unary = input.byte();
    made.unary_length = unary < 250 ? 1 + unary % 24 : 1 + (unary - 249) * 51;  // 256, 307: at 6
    while (input.left() && made.scaled.size() < 600) {
        const auto first = static_cast<std::int8_t>(input.byte());
        float value = static_cast<float>(first) / 16.0f;
        if (first == -128) value = as_float<float>(input.word());
        if (first == 127) value = std::ldexp(1.0f, input.below(32)) - 4.0f;
        made.scaled.push_back(value);
    }
    return made;
}

// The tensor that the values fill, and what its payload depends on; bits of `head` choose.
struct Layout {
    Layout(const Arguments& given, unsigned head) {
        const std::size_t count = given.scaled.size();
        const std::size_t width = head & 1 ? 1 : head & 2 ? 8 : head & 4 ? 11 : count;
        const std::size_t rows = width ? count / width : 0;
        spec.rows = static_cast<std::int64_t>(rows);
        spec.cols = static_cast<std::int64_t>(width);
        spec.unary_length = given.unary_length;
        spec.dq_flag = !(head & 8);
        spec.scan_order = head & 16 ? 1 : 0;
        fuzz::Noise noise(head);
        if (head & 32) {
            spec.parent_node_id_present_flag = true;
            for (std::size_t at = 0; at < rows * width; ++at) {
                reference.push_back(static_cast<int>(noise.next() % 7) - 3);
                history.push_back(noise.next() & 1);
            }
            spec.reference = fuzz::view(std::as_const(reference));
            spec.history = fuzz::view(std::as_const(history));
        }
        if (head & 64 && spec.has_skip_flags()) {
            for (std::size_t row = 0; row < rows; ++row) skipped.push_back(noise.next() % 4 == 0);
            choices.row_skip_flags = fuzz::view(std::as_const(skipped));
        }
        choices.hist_dep_sig_prob_enabled_flag =
            head & 128 && spec.history.data && spec.has_skip_flags();
    }
    Layout(const Layout&) = delete;  // it points into itself
    Layout& operator=(const Layout&) = delete;

    nnrcore::TensorSpec spec;
    nnrcore::TensorChoices choices;
    std::vector<std::int32_t> reference;
    std::vector<std::uint8_t> history;
    std::vector<std::uint8_t> skipped;
};

double distortion(const std::vector<float>& scaled, const std::vector<std::int32_t>& levels) {
    double sum = 0.0;
    for (std::size_t at = 0; at < levels.size(); ++at) {
        const double error = static_cast<double>(scaled[at]) - levels[at];
        sum += error * error;
    }
    return sum;
}

void code(const Layout& layout, const std::vector<std::int32_t>& levels) {
    const nnrcore::TensorSpec& spec = layout.spec;
    nnrcore::TensorChoices choices = layout.choices;
    const std::int64_t stride = 1 + static_cast<std::int64_t>(levels.size() % 3);
    const auto indices =
        nnrcore::search_init_indices(spec, fuzz::view(levels), choices, stride);
    fuzz::promise(indices.size() <= nnrcore::max_init_indices(spec.unary_length),
                  "the indices fit a decoder's buffer");
    choices.init_indices = fuzz::view(indices);
    fuzz::promise(nnrcore::estimate_cost(spec, fuzz::view(levels), choices) > 0,
                  "indices alone cost something");
    nnrcore::Encoder encoder;
    encoder.tensor(spec, fuzz::view(levels), choices);
    const auto& codeword = encoder.terminate();
    nnrcore::Decoder decoder(codeword.data(), codeword.size());
    fuzz::Found found(spec);
    found.read(decoder, spec);
    fuzz::promise(decoder.terminate() == codeword.size(), "the codeword is consumed");
    fuzz::promise(found.levels == levels && found.indices == indices, "what was found survives");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::uint8_t head = input.byte();
    const Arguments given = draw(input);
    const Layout layout(given, head);
    const std::size_t count = layout.spec.elements();
    std::vector<std::int32_t> levels(count, 99);
    try {
        nnrcore::quantise_tensor(layout.spec, {given.scaled.data(), count}, 1.0f, given.lambda,
                                 layout.choices, {levels.data(), count});
    } catch (const nnrcore::argument_error&) {
        fuzz::promise(!given.legal(), "legal arguments are searched");
        return 0;
    }
    if (given.lambda == 0.0 && layout.skipped.empty()) {
        // Every quantiser has a level within 1 of any value, so the best path is no worse.
        fuzz::promise(distortion(given.scaled, levels) <= static_cast<double>(count) * (1 + 1e-9),
                      "the best path is no worse than taking each nearest level");
    }
    code(layout, levels);  // fails if the path breaks off
    return 0;
}
