// SPDX-License-Identifier: Apache-2.0
// Adaptive contexts and the bank of them that one tensor uses (spec/nnc.md §8, §9).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nnrcore/tables.h"

namespace nnrcore {

// Two counters of different precision and speed; 16 a + b > 0 means that bin 1 is more probable.
// What the next bin needs is derived when the context adapts, off the coder's critical path.
class Context {
public:
    Context() { initialise(0); }

    void initialise(int index) {
        index_ = static_cast<std::uint8_t>(index);
        shift_a_ = kShiftA[static_cast<std::size_t>(index)];
        shift_b_ = kShiftB[static_cast<std::size_t>(index)];
        reset();
    }

    void reset() {
        a_ = kInitialA[index_];
        b_ = kInitialB[index_];
        derive();
    }

    void adapt(unsigned bin) {
        // Both outcomes are computed so that nothing but the selection waits for the bin.
        const int a = a_;
        const int b = b_;
        const int up_a = a + (kStep[static_cast<std::size_t>(16 + (a >> 3))] >> shift_a_);
        const int up_b = b + (kStep[static_cast<std::size_t>(16 + (b >> 7))] >> shift_b_);
        const int down_a = a - (kStep[static_cast<std::size_t>(16 + (-a >> 3))] >> shift_a_);
        const int down_b = b - (kStep[static_cast<std::size_t>(16 + (-b >> 7))] >> shift_b_);
        a_ = static_cast<std::int16_t>(bin ? up_a : down_a);
        b_ = static_cast<std::int16_t>(bin ? up_b : down_b);
        derive();
    }

    int a() const { return a_; }
    int b() const { return b_; }
    int sum() const { return 16 * a_ + b_; }
    unsigned more_probable() const { return more_probable_; }
    std::uint64_t lps_row() const { return lps_row_; }

    // Estimated cost of a bin, in 1/32768 bit.
    std::int32_t cost(unsigned bin, const CostTables& tables) const {
        const int sum = this->sum();
        const int confidence = sum >= 0 ? sum >> 3 : -(sum >> 3);
        const auto& table = bin == more_probable_ ? tables.more_probable : tables.less_probable;
        return table[static_cast<std::size_t>(confidence)];
    }

private:
    void derive() {
        const int sum = this->sum();
        const int scaled = sum >> 7;
        more_probable_ = sum >= 0;
        lps_row_ = kLpsRows[static_cast<std::size_t>(scaled < 0 ? -scaled : scaled)];
    }

    std::uint64_t lps_row_;  // width of the less probable part for each range, see kLpsRows
    std::int16_t a_;
    std::int16_t b_;
    std::uint8_t more_probable_;
    std::uint8_t shift_a_;
    std::uint8_t shift_b_;
    std::uint8_t index_;
};

// All contexts of a tensor in one array: sig 24, sigT 16, sigH 8, sgn 3, sgnT 2, gr 2N, grT 2N,
// rem 32, shift 1, row 1. A slot is a position in that order.
template <class AnyContext>
class ContextBank {
public:
    explicit ContextBank(int unary_length)
        : greater_temporal_slot_(kGreater + 2 * static_cast<std::size_t>(unary_length)),
          remainder_slot_(kGreater + 4 * static_cast<std::size_t>(unary_length)),
          all_(remainder_slot_ + kRemainderContextsNncodec1 + 2) {}

    AnyContext* sig() { return all_.data(); }
    AnyContext* sig_temporal() { return all_.data() + kSigTemporal; }
    AnyContext* sig_history() { return all_.data() + kSigHistory; }
    AnyContext* sign() { return all_.data() + kSign; }
    AnyContext* sign_temporal() { return all_.data() + kSignTemporal; }
    AnyContext* greater() { return all_.data() + kGreater; }
    AnyContext* greater_temporal() { return all_.data() + greater_temporal_slot_; }
    AnyContext* remainder() { return all_.data() + remainder_slot_; }
    AnyContext& shift() { return all_[remainder_slot_ + kRemainderContextsNncodec1]; }
    AnyContext& row() { return all_[remainder_slot_ + kRemainderContextsNncodec1 + 1]; }

    std::vector<AnyContext>& all() { return all_; }
    const std::vector<AnyContext>& all() const { return all_; }

    void reset() {
        for (auto& context : all_) context.reset();
    }

private:
    static constexpr std::size_t kSigTemporal = 24;
    static constexpr std::size_t kSigHistory = kSigTemporal + 16;
    static constexpr std::size_t kSign = kSigHistory + 8;
    static constexpr std::size_t kSignTemporal = kSign + 3;
    static constexpr std::size_t kGreater = kSignTemporal + 2;

    std::size_t greater_temporal_slot_;
    std::size_t remainder_slot_;
    std::vector<AnyContext> all_;
};

}  // namespace nnrcore
