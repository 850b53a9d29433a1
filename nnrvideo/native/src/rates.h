// SPDX-License-Identifier: Apache-2.0
// Estimated cost of coding a value, from the contexts that a quantiser has adapted so far.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nnrcore/contexts.h"
#include "nnrcore/tables.h"
#include "nnrcore/tensor.h"
#include "payload.h"

namespace nnrcore::detail {

// What surrounds a value and selects its contexts (§9.2).
struct Neighbourhood {
    std::int64_t reference = 0;
    bool marked = false;

    std::int64_t distance() const { return reference < 0 ? -reference : reference; }
};

// An engine that moves contexts and writes nothing.
struct AdaptingEngine {
    using ContextType = Context;
    static constexpr bool kDecodes = false;

    unsigned context_bin(Context& context, unsigned bin) {
        context.adapt(bin);
        return bin;
    }
    std::uint32_t bypass_bits(int, std::uint32_t value) { return value; }
    std::uint32_t enter_block_row() { return 0; }
    void check_position() const {}
    std::int64_t position() const { return 0; }
    std::int64_t bit_position() const { return 0; }
};

// Contexts with, beside them, a table of what each of their bins costs. The table is brought up to
// date by refresh() and not by adapt(): a quantiser asks far more often than contexts move.
class Rates {
public:
    Rates(const TensorSpec& spec, const TensorChoices& choices)
        : spec_(spec),
          bank_(spec.unary_length),
          payload_(engine_, spec, bank_, starts_),
          costs_(bank_.all().size()),
          magnitudes_{std::vector<double>(static_cast<std::size_t>(spec.unary_length) + 2),
                      std::vector<double>(static_cast<std::size_t>(spec.unary_length) + 2)} {
        std::size_t count = 0;
        for_each_initialised(bank_, spec, choices.hist_dep_sig_prob_enabled_flag,
                             [&](Context& context, bool signalled) {
                                 int index = 0;
                                 if (signalled && count < choices.init_indices.size) {
                                     index = choices.init_indices.data[count++];
                                 }
                                 context.initialise(index);
                             });
        refresh();
    }

    void reset() {
        bank_.reset();
        refresh();
    }

    void adapt(std::int64_t k, unsigned state, unsigned previous, const Neighbourhood& around) {
        payload_.template value<true, false>(engine_, k, state, previous, around.reference,
                                             around.marked);
    }

    void refresh() {
        // Only what this tensor can use; remainders are rare and read their contexts directly.
        const std::size_t greater_slot = slot_of(bank_.greater());
        const std::size_t flags = 2 * static_cast<std::size_t>(spec_.unary_length);
        refresh(0, spec_.dq_flag ? 24 : 3);
        refresh(kSign, kSign + 3);
        refresh(greater_slot, greater_slot + flags);
        if (spec_.history.data) refresh(kSigHistory, kSigHistory + 8);
        if (spec_.temporal()) {
            refresh(kSigTemporal, kSigTemporal + 16);
            refresh(kSignTemporal, kSignTemporal + 2);
            refresh(greater_slot + flags, greater_slot + 2 * flags);
        }
        // Of the usual contexts a running sum gives the whole unary part at once.
        const auto length = static_cast<std::size_t>(spec_.unary_length);
        for (std::size_t negative = 0; negative < 2; ++negative) {
            const Costs* greater = costs_.data() + slot_of(bank_.greater()) + negative;
            double ones = 0.0;
            for (std::size_t k = 1; k <= length; ++k) {
                magnitudes_[negative][k] = ones + greater[2 * (k - 1)].zero;
                ones += greater[2 * (k - 1)].one;
            }
            magnitudes_[negative][length + 1] = ones;
        }
    }

    double significance(unsigned state, unsigned previous, const Neighbourhood& around,
                        bool one) const {
        std::size_t slot = std::size_t{3} * state + previous;
        if (around.marked) {
            slot = kSigHistory + state;
        } else if (around.reference) {
            slot = kSigTemporal + 2 * state + (around.distance() > 1);
        }
        return one ? costs_[slot].one : costs_[slot].zero;
    }

    double sign(unsigned previous, bool negative, const Neighbourhood& around) const {
        const std::size_t slot =
            around.reference ? kSignTemporal + (around.reference > 0) : kSign + previous;
        return negative ? costs_[slot].one : costs_[slot].zero;
    }

    // Greater-than flags and remainder of |k| >= 1.
    double magnitude(std::int64_t k, bool negative, const Neighbourhood& around) const {
        const std::int64_t length = spec_.unary_length;
        if (!around.reference) {
            const std::vector<double>& table = magnitudes_[negative];
            if (k <= length) return table[static_cast<std::size_t>(k)];
            return table[static_cast<std::size_t>(length) + 1] + remainder(k);
        }
        const Costs* greater = costs_.data() + slot_of(bank_.greater_temporal());
        const std::int64_t distance = around.distance();
        double cost = 0.0;
        for (std::int64_t number = 0; number < length; ++number) {
            const Costs& bin = greater[2 * number + (distance < number)];
            if (k == number + 1) return cost + bin.zero;
            cost += bin.one;
        }
        return cost + remainder(k);
    }

private:
    struct Costs {
        double zero;
        double one;
    };
    static constexpr std::size_t kSigTemporal = 24;
    static constexpr std::size_t kSigHistory = kSigTemporal + 16;
    static constexpr std::size_t kSign = kSigHistory + 8;
    static constexpr std::size_t kSignTemporal = kSign + 3;

    std::size_t slot_of(const Context* context) const {
        return static_cast<std::size_t>(context - bank_.all().data());
    }

    void refresh(std::size_t first, std::size_t end) {
        const auto& contexts = bank_.all();
        for (std::size_t slot = first; slot < end; ++slot) {
            costs_[slot].zero = contexts[slot].cost(0, tables_);
            costs_[slot].one = contexts[slot].cost(1, tables_);
        }
    }

    double remainder(std::int64_t k) const {
        const Context* prefix = bank_.remainder();
        std::int64_t magnitude = spec_.unary_length + 1;
        double cost = 0.0;
        for (int width = 0; width <= kLastPrefix; ++width) {
            const std::int64_t next = magnitude + (std::int64_t{1} << width);
            const auto bypass = static_cast<double>(width * kCostUnit);
            if (k < next) return cost + prefix[width].cost(0, tables_) + bypass;
            cost += prefix[width].cost(1, tables_);
            magnitude = next;
        }
        return cost + static_cast<double>((kLastPrefix + 1) * kCostUnit);
    }

    const TensorSpec& spec_;
    const CostTables& tables_ = cost_tables();
    AdaptingEngine engine_;
    mutable ContextBank<Context> bank_;  // its accessors are not const
    std::vector<BlockRowStart> starts_;
    TensorPayload<AdaptingEngine> payload_;
    std::vector<Costs> costs_;
    std::vector<double> magnitudes_[2];  // by sign and |k|; the entry after the last: all ones
};

}  // namespace nnrcore::detail
