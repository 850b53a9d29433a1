// SPDX-License-Identifier: Apache-2.0
// Constants of the arithmetic engine, the context model and dependent quantisation
// (spec/nnc.md §6.1, §7, §8). The Python package keeps the same numbers; its tests compare the two.
#pragma once

#include <array>
#include <cstdint>

namespace nnrcore {

constexpr std::uint32_t kRangeStart = 510;
constexpr std::uint32_t kRangeAtEntryPoint = 256;
constexpr int kValueBits = 9;
constexpr int kInitIndices = 9;
constexpr int kRemainderContexts = 31;
constexpr int kRemainderContextsNncodec1 = 32;
constexpr int kDqStates = 8;
constexpr std::int64_t kCostUnit = 32768;  // one bit
constexpr int kCostEntries = 512;

// One row of eight widths for each 32 + (sum >> 7), packed so that a single load fetches it: the
// width for range R is byte (R >> 5) & 7. Packing takes the dependence on R out of the load's
// address. No sum is below -31 * 128.
extern const std::array<std::uint64_t, 64> kLpsRows;

constexpr std::array<std::int16_t, 32> kStep = {
    2512, 2288, 2064, 1840, 1616, 1392, 1168, 944, 720, 560, 464, 368, 272, 208, 144, 80,
    64,   64,   64,   64,   64,   64,   64,   64,  64,  64,  64,  64,  64,  64,  64,  0};

constexpr std::array<std::uint8_t, kInitIndices> kShiftA = {5, 5, 5, 4, 6, 6, 6, 7, 7};
constexpr std::array<std::uint8_t, kInitIndices> kShiftB = {4, 4, 4, 5, 6, 6, 6, 5, 5};
constexpr std::array<std::int16_t, kInitIndices> kInitialA = {0, -41, 95, 0, 30, 95, -21, 0, 30};
constexpr std::array<std::int16_t, kInitIndices> kInitialB = {0,    -654, 1519, 0,  482,
                                                              1519, -337, 0,    482};

constexpr std::uint8_t kDqNext[kDqStates][2] = {{0, 2}, {7, 5}, {1, 3}, {6, 4},
                                                {2, 0}, {5, 7}, {3, 1}, {4, 6}};

// Estimated cost of a bin in 1/32768 bit, by |sum >> 3| (§8, informative).
struct CostTables {
    std::array<std::int32_t, kCostEntries> less_probable;
    std::array<std::int32_t, kCostEntries> more_probable;
};
const CostTables& cost_tables();

}  // namespace nnrcore
