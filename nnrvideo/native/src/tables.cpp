// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/tables.h"

#include <cmath>

namespace nnrcore {
namespace {

constexpr std::uint8_t kLps[8][32] = {
    {128, 112, 97, 84, 74, 65, 57, 50, 45, 39, 34, 30, 27, 23, 20, 18,
     15,  14,  12, 11, 10, 9,  7,  7,  5,  5,  4,  4,  3,  3,  2,  2},
    {142, 125, 108, 93, 82, 72, 63, 56, 50, 43, 38, 33, 30, 26, 22, 20,
     17,  16,  13,  12, 11, 10, 8,  8,  6,  6,  5,  5,  3,  3,  2,  2},
    {156, 137, 119, 103, 90, 79, 70, 61, 55, 48, 42, 37, 33, 28, 24, 22,
     19,  17,  15,  13,  12, 11, 9,  9,  6,  6,  5,  5,  4,  4,  2,  2},
    {171, 150, 130, 112, 99, 87, 76, 67, 60, 52, 46, 40, 36, 31, 27, 24,
     21,  19,  16,  15,  13, 12, 10, 10, 7,  7,  6,  6,  4,  4,  3,  3},
    {185, 162, 141, 121, 107, 94, 82, 73, 65, 56, 50, 43, 39, 34, 29, 26,
     22,  21,  17,  16,  14,  13, 11, 11, 8,  8,  6,  6,  4,  4,  3,  3},
    {199, 175, 152, 131, 115, 101, 89, 78, 70, 61, 54, 47, 42, 36, 31, 28,
     24,  22,  19,  17,  15,  14,  12, 12, 8,  8,  7,  7,  5,  5,  3,  3},
    {213, 187, 163, 140, 123, 108, 95, 84, 75, 65, 58, 50, 45, 39, 33, 30,
     26,  24,  20,  18,  16,  15,  13, 13, 9,  9,  7,  7,  5,  5,  3,  3},
    {228, 200, 174, 150, 132, 116, 102, 90, 80, 70, 62, 54, 48, 42, 36, 32,
     28,  26,  22,  20,  18,  16,  14,  14, 10, 10, 8,  8,  6,  6,  4,  4}};

constexpr std::array<std::uint64_t, 64> pack_lps_rows() {
    std::array<std::uint64_t, 64> rows{};
    for (int scaled = -31; scaled < 32; ++scaled) {
        std::uint64_t row = 0;
        for (int step = 7; step >= 0; --step) {
            row = row << 8 | kLps[step][scaled < 0 ? -scaled : scaled];
        }
        rows[static_cast<std::size_t>(32 + scaled)] = row;
    }
    return rows;
}

CostTables make_cost_tables() {
    CostTables tables{};
    for (int confidence = 0; confidence < kCostEntries; ++confidence) {
        const double less = std::floor(32968 + 400.8 * confidence + 0.5);
        const double probability = std::pow(2.0, -less / static_cast<double>(kCostUnit));
        const double more =
            std::floor(-std::log2(1.0 - probability) * static_cast<double>(kCostUnit) + 0.5);
        tables.less_probable[static_cast<std::size_t>(confidence)] = static_cast<std::int32_t>(less);
        tables.more_probable[static_cast<std::size_t>(confidence)] = static_cast<std::int32_t>(more);
    }
    return tables;
}

}  // namespace

constexpr std::array<std::uint64_t, 64> kPackedLpsRows = pack_lps_rows();
const std::array<std::uint64_t, 64> kLpsRows = kPackedLpsRows;

const CostTables& cost_tables() {
    static const CostTables tables = make_cost_tables();
    return tables;
}

}  // namespace nnrcore
