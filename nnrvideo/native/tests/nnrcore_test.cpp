// SPDX-License-Identifier: Apache-2.0
// The library alone, without Python: known codewords, random round trips, damaged codewords.
// Built with sanitisers it shows that no input makes the core read or write out of bounds.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "nnrcore/errors.h"
#include "nnrcore/search.h"
#include "nnrcore/tensor.h"
#include "nnrcore/trellis.h"

namespace {

int failures = 0;

void check(bool holds, const std::string& what) {
    if (holds) return;
    ++failures;
    std::fprintf(stderr, "FAILED: %s\n", what.c_str());
}

template <class T>
nnrcore::Span<const T> view(const std::vector<T>& items) {
    return {items.data(), items.size()};
}

std::string hex(const std::vector<std::uint8_t>& bytes) {
    std::string text;
    char digits[3];
    for (const auto byte : bytes) {
        std::snprintf(digits, sizeof digits, "%02x", byte);
        text += digits;
    }
    return text;
}

nnrcore::TensorSpec matrix(std::int64_t rows, std::int64_t cols, int unary_length) {
    nnrcore::TensorSpec spec;
    spec.rows = rows;
    spec.cols = cols;
    spec.unary_length = unary_length;
    return spec;
}

std::vector<std::uint8_t> encode(const nnrcore::TensorSpec& spec,
                                 const std::vector<std::int32_t>& levels,
                                 const nnrcore::TensorChoices& choices = {}) {
    nnrcore::Encoder encoder;
    encoder.iae(-5, 8);
    encoder.tensor(spec, view(levels), choices);
    return encoder.terminate();
}

// Throws bitstream_error for a damaged codeword, nothing else.
std::vector<std::int32_t> decode(const nnrcore::TensorSpec& spec,
                                 const std::vector<std::uint8_t>& codeword,
                                 const std::vector<nnrcore::EntryPoint>& points = {}) {
    std::vector<std::int32_t> levels(spec.elements());
    std::vector<std::uint8_t> skipped(static_cast<std::size_t>(spec.rows));
    std::vector<std::uint8_t> indices(nnrcore::max_init_indices(spec.unary_length));
    nnrcore::Decoder decoder(codeword.data(), codeword.size());
    decoder.iae(8);
    decoder.tensor(spec, {{levels.data(), levels.size()},
                          {skipped.data(), skipped.size()},
                          {indices.data(), indices.size()}},
                   points, points.empty() ? 1 : 3);
    check(decoder.terminate() == codeword.size(), "the codeword is consumed to its last byte");
    return levels;
}

void known_codewords() {
    nnrcore::Encoder empty;
    check(hex(empty.terminate()) == "fe80", "the empty codeword");
    nnrcore::Encoder bypass;
    bypass.iae(-15, 8);
    check(hex(bypass.terminate()) == "f10d80", "a bypass value");
    nnrcore::Encoder column;
    const std::vector<std::int32_t> levels{5, -3, 0, 1};
    column.tensor(matrix(4, 1, 10), view(levels), {});
    check(hex(column.terminate()) == "8d00165dc680", "a small tensor");
}

void round_trips(std::mt19937& random) {
    for (int round = 0; round < 300; ++round) {
        auto spec = matrix(1 + random() % 40, 1 + random() % 40, 1 + static_cast<int>(random() % 20));
        spec.scan_order = static_cast<int>(random() % 5);
        spec.general_profile_idc = static_cast<int>(random() % 2);
        spec.dq_flag = random() % 2 == 1;
        const int spread = 1 << random() % 20;
        std::vector<std::int32_t> levels(spec.elements());
        if (spec.dq_flag) {
            std::vector<float> values(levels.size());
            for (auto& value : values) value = static_cast<float>(random() % 1000) / 50.0f - 10.0f;
            const double lambda = round % 2 ? 0.7 : 0.0;
            nnrcore::quantise_tensor(spec, {values.data(), values.size()}, 1.0f, lambda, {},
                                     {levels.data(), levels.size()});
        } else {
            for (auto& level : levels) {
                level = random() % 3 ? 0 : static_cast<int>(random() % spread) - spread / 2;
            }
        }
        nnrcore::TensorChoices choices;
        const auto indices = nnrcore::search_init_indices(spec, view(levels), choices);
        const auto plain = encode(spec, levels);
        choices.init_indices = view(indices);
        const auto searched = encode(spec, levels, choices);
        check(decode(spec, plain) == levels, "round trip");
        check(decode(spec, searched) == levels, "round trip with searched initialisation");
        const auto bits = static_cast<double>(nnrcore::estimate_cost(spec, view(levels), {})) / 32768;
        const auto real = 8.0 * static_cast<double>(plain.size());
        check(bits > 0.9 * real - 80 && bits < 1.1 * real + 80, "the estimate is near the size");
    }
}

// Block rows by several threads, from true entry points and from damaged ones.
void block_rows(std::mt19937& random) {
    for (int round = 0; round < 100; ++round) {
        auto spec = matrix(20 + random() % 60, 2 + random() % 40, 6);
        spec.scan_order = 1;
        std::vector<std::int32_t> levels(spec.elements());
        for (auto& level : levels) level = static_cast<int>(random() % 9) - 4;
        nnrcore::Encoder encoder;
        encoder.iae(-5, 8);
        encoder.tensor(spec, view(levels), {});
        const auto codeword = encoder.terminate();
        auto points = encoder.entry_points()[0];
        check(decode(spec, codeword, points) == levels, "block rows by several threads");
        auto& point = points[random() % points.size()];
        switch (random() % 3) {
            case 0: point.cabac_offset = random() % 512; break;
            case 1: point.dq_state = random() % 16; break;
            default: point.bit_offset += static_cast<int>(random() % 99999) - 50000; break;
        }
        check(decode(spec, codeword, points) == levels, "block rows in spite of a damaged list");
    }
}

void damaged_codewords(std::mt19937& random) {
    const auto spec = matrix(24, 24, 8);
    std::vector<std::int32_t> levels(spec.elements());
    for (auto& level : levels) level = static_cast<int>(random() % 9) - 4;
    const auto codeword = encode(spec, levels);
    int refused = 0;
    for (int round = 0; round < 3000; ++round) {
        auto damaged = codeword;
        if (round % 3 == 0) damaged.resize(random() % damaged.size());
        for (int i = 0; i < 4 && !damaged.empty() && round % 3 != 0; ++i) {
            damaged[random() % damaged.size()] = static_cast<std::uint8_t>(random());
        }
        const int before = failures;
        try {
            decode(spec, damaged);
            failures = before;  // a damaged codeword may well end early
        } catch (const nnrcore::bitstream_error& error) {
            ++refused;
            check(error.bit >= 0 && error.bit <= 8 * static_cast<std::int64_t>(codeword.size()) + 64,
                  "the fault lies in the codeword");
        }
    }
    check(refused > 1000, "damage is noticed");
}

template <class Action>
void refuses(Action action, const char* what) {
    try {
        action();
        check(false, what);
    } catch (const nnrcore::argument_error&) {
    }
}

void impossible_arguments() {
    const std::vector<std::int32_t> levels{1, 2, 3, 4};
    refuses([&] { encode(matrix(2, 3, 10), levels); }, "too few levels");
    refuses([&] { encode(matrix(-2, -2, 10), levels); }, "negative size");
    refuses([&] { encode(matrix(std::int64_t{1} << 62, 4, 10), levels); }, "size that overflows");
    refuses([&] { encode(matrix(2, 2, 0), levels); }, "no greater-than flags");
    nnrcore::Encoder finished;
    finished.terminate();
    refuses([&] { finished.iae(0, 8); }, "writing after the end");
}

}  // namespace

int main() {
    std::mt19937 random(20221);
    known_codewords();
    round_trips(random);
    block_rows(random);
    damaged_codewords(random);
    impossible_arguments();
    if (failures) return EXIT_FAILURE;
    std::puts("nnrcore: all tests passed");
    return EXIT_SUCCESS;
}
