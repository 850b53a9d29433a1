// SPDX-License-Identifier: Apache-2.0
// Adaptive contexts and the bank of them that one tensor uses (spec/nnc.md §8, §9).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "nnrcore/tables.h"

namespace nnrcore {

// How far both counters move for a bin of 0 or 1, by their upper five bits. A counter that moves
// down mirrors one that moves up, so its step is taken at the counter less one.
struct Steps {
    std::array<std::array<std::int16_t, 32>, 2> a;
    std::array<std::array<std::int16_t, 32>, 2> b;
};

constexpr std::array<Steps, kInitIndices> make_steps() {
    std::array<Steps, kInitIndices> all{};
    for (std::size_t index = 0; index < all.size(); ++index) {
        for (std::size_t n = 0; n < 32; ++n) {
            const int step_a = kStep[n] >> kShiftA[index] << 4;
            const int step_b = kStep[n] >> kShiftB[index];
            all[index].a[1][n] = static_cast<std::int16_t>(step_a);
            all[index].b[1][n] = static_cast<std::int16_t>(step_b);
            all[index].a[0][31 - n] = static_cast<std::int16_t>(-step_a);
            all[index].b[0][31 - n] = static_cast<std::int16_t>(-step_b);
        }
    }
    return all;
}
inline constexpr std::array<Steps, kInitIndices> kSteps = make_steps();

// Two counters of different precision and speed; 16 a + b > 0 means that bin 1 is more probable.
// The first is kept as 16 a, so that the same shift finds either one's step.
class Context {
public:
    Context() { initialise(0); }

    void initialise(int index) {
        index_ = static_cast<std::uint8_t>(index);
        steps_ = &kSteps[index_];
        reset();
    }

    void reset() {
        a16_ = static_cast<std::int16_t>(16 * kInitialA[index_]);
        b_ = kInitialB[index_];
    }

    void adapt(unsigned bin) {
        const int below = static_cast<int>(bin) - 1;
        const auto step_a = static_cast<std::size_t>(16 + ((a16_ + below) >> 7));
        const auto step_b = static_cast<std::size_t>(16 + ((b_ + below) >> 7));
        a16_ = static_cast<std::int16_t>(a16_ + steps_->a[bin][step_a]);
        b_ = static_cast<std::int16_t>(b_ + steps_->b[bin][step_b]);
    }

    int a() const { return a16_ >> 4; }
    int b() const { return b_; }
    int sum() const { return a16_ + b_; }
    unsigned more_probable() const { return sum() >= 0; }
    std::uint64_t lps_row() const { return kLpsRows[static_cast<std::size_t>(32 + (sum() >> 7))]; }

    // Estimated cost of a bin, in 1/32768 bit.
    std::int32_t cost(unsigned bin, const CostTables& tables) const {
        const int sum = this->sum();
        const int confidence = sum >= 0 ? sum >> 3 : -(sum >> 3);
        const auto& table = bin == more_probable() ? tables.more_probable : tables.less_probable;
        return table[static_cast<std::size_t>(confidence)];
    }

private:
    const Steps* steps_;
    std::int16_t a16_;
    std::int16_t b_;
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
