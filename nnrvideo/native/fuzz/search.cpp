// SPDX-License-Identifier: Apache-2.0
// The encoder's searches: whatever values they are given, what they find is legal. Values or
// arguments that are out of range, and only those, are refused with argument_error.
//
// A further search is checked by adding a case to the switch in `find`.
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
        // Below 1e-300 the sums of the search overflow, and it loses its way.
        if (made.lambda > 0.0 && made.lambda < 1e-200) made.lambda = 1e-200;
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

std::vector<std::int32_t> find(const Arguments& given, int which) {
    std::vector<std::int32_t> levels(given.scaled.size(), 99);
    switch (which) {
        default:
            nnrcore::trellis_search(given.scaled.data(), given.scaled.size(), given.lambda,
                                    given.unary_length, levels.data(), levels.size());
    }
    return levels;
}

// Each level lies on the quantiser of the state that the levels before it lead to.
bool on_the_quantisers(const std::vector<std::int32_t>& levels) {
    unsigned state = 0;
    for (const std::int64_t level : levels) {
        const std::int64_t odd = state & 1;
        const std::int64_t doubled = level > 0 ? level + odd : level < 0 ? level - odd : 0;
        if (doubled % 2 != 0) return false;
        state = nnrcore::kDqNext[state][doubled / 2 & 1];
    }
    return true;
}

double distortion(const std::vector<float>& scaled, const std::vector<std::int32_t>& levels) {
    double sum = 0.0;
    for (std::size_t at = 0; at < levels.size(); ++at) {
        const double error = static_cast<double>(scaled[at]) - levels[at];
        sum += error * error;
    }
    return sum;
}

void code(const Arguments& given, const std::vector<std::int32_t>& levels, bool column) {
    nnrcore::TensorSpec spec;
    const auto count = static_cast<std::int64_t>(levels.size());
    spec.rows = column ? count : 1;
    spec.cols = column ? 1 : count;
    spec.unary_length = given.unary_length;
    spec.dq_flag = true;
    nnrcore::TensorChoices choices;
    const auto indices = nnrcore::search_init_indices(spec, fuzz::view(levels), choices);
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
    std::vector<std::int32_t> levels;
    try {
        levels = find(given, head >> 1);
    } catch (const nnrcore::argument_error&) {
        fuzz::promise(!given.legal(), "legal arguments are searched");
        return 0;
    }
    fuzz::promise(given.legal(), "arguments out of range are refused");
    fuzz::promise(on_the_quantisers(levels), "levels can be contracted");
    if (given.lambda == 0.0) {
        // Every quantiser has a level within 1 of any value, so the best path is no worse.
        const auto most = static_cast<double>(levels.size());
        fuzz::promise(distortion(given.scaled, levels) <= most * (1 + 1e-9),
                      "the best path is no worse than taking each nearest level");
    }
    code(given, levels, head & 1);
    return 0;
}
