// SPDX-License-Identifier: Apache-2.0
// The ways into the states of dependent quantisation, laid out for a search that extends survivors
// two at a time and says in a byte for each state where it was reached from.
#pragma once

#include <cstdint>

#include "nnrcore/tables.h"
#include "pair.h"

namespace nnrcore::detail {

constexpr std::uint8_t kZero = 0x20;  // mark of the zero branch beside predecessor and remainder

// Survivors are extended two at a time: states by their place in such pairs.
constexpr unsigned kPairs = kDqStates / 2;
constexpr unsigned kStateAt[kDqStates] = {0, 2, 4, 6, 3, 1, 7, 5};
constexpr unsigned kPlaceOf[kDqStates] = {0, 5, 1, 4, 2, 7, 3, 6};

// The two ways into a state, in the order they compete: predecessor, parity of the coded value.
struct Arrival {
    std::uint8_t from;
    std::uint8_t parity;
};
constexpr Arrival kArrivals[kDqStates][2] = {
    {{0, 0}, {4, 1}}, {{2, 0}, {6, 1}}, {{0, 1}, {4, 0}}, {{2, 1}, {6, 0}},
    {{3, 1}, {7, 0}}, {{1, 1}, {5, 0}}, {{3, 0}, {7, 1}}, {{1, 0}, {5, 1}}};

constexpr unsigned remainder_of(unsigned state, unsigned parity) {
    return parity ? 2 - (state & 1) : 3 * (state & 1);
}

// A mask has a byte for each state, those of even states in its first half and those of odd ones
// in its second: so the two halves of a comparison fill the bytes of two neighbours.
constexpr std::int64_t byte_of(unsigned target, unsigned value) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(value) << 8 * target);
}
struct Halves {
    std::int64_t even;
    std::int64_t odd;

    PairMask mask() const { return PairMask{even, odd}; }
};

constexpr Halves bytes_of(unsigned target) {
    return {byte_of(target, 0xff), byte_of(target + 1, 0xff)};
}

// Marks of the first (0) or the second (1) way into each state, with the zero branch as the even
// one out of states that say so.
constexpr Halves marks_of(unsigned way, bool zero_from_even, bool zero_from_odd) {
    Halves halves{0, 0};
    for (unsigned target = 0; target < kDqStates; ++target) {
        const Arrival arrival = kArrivals[target][way];
        const bool zero = arrival.from & 1 ? zero_from_odd : zero_from_even;
        const unsigned chosen = zero && arrival.parity == 0
                                    ? unsigned{kZero}
                                    : remainder_of(arrival.from, arrival.parity) << 3;
        std::int64_t& half = target & 1 ? halves.odd : halves.even;
        half |= byte_of(target, arrival.from | chosen);
    }
    return halves;
}

struct Marks {
    Halves first;
    Halves second;
};
constexpr Marks marks_of(bool zero_from_even, bool zero_from_odd) {
    return {marks_of(0, zero_from_even, zero_from_odd), marks_of(1, zero_from_even, zero_from_odd)};
}

// The marks in which zero branches and others out of all states differ.
constexpr Marks differing_marks() {
    const Marks others = marks_of(false, false);
    const Marks zeros = marks_of(true, true);
    return {{others.first.even ^ zeros.first.even, others.first.odd ^ zeros.first.odd},
            {others.second.even ^ zeros.second.even, others.second.odd ^ zeros.second.odd}};
}
constexpr Marks kMarks[2][2] = {{marks_of(false, false), marks_of(false, true)},
                                {marks_of(true, false), marks_of(true, true)}};

// From the lowest of four neighbouring integers, by its remainder modulo 4, to those of remainders
// 0 and 2, which even states lead to, and to those of 3 and 1, which odd ones lead to.
constexpr double kToEven[4][2] = {{0, 2}, {3, 1}, {2, 0}, {1, 3}};
constexpr double kToOdd[4][2] = {{3, 1}, {2, 0}, {1, 3}, {0, 2}};

}  // namespace nnrcore::detail
