// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/search.h"

#include <algorithm>
#include <array>

#include "checks.h"
#include "payload.h"

namespace nnrcore {
namespace {

constexpr int kLargestSum = 4096;  // beyond what 16 a + b can become

// Cost of either bin by the context's sum >> 3, and the steps of both counters by shift and by
// counter: what Context computes, laid out so that nine contexts at a time are a few loads each.
struct TrialTables {
    std::array<std::array<std::int32_t, 2 * kLargestSum / 8>, 2> costs;
    std::array<std::array<std::int16_t, 32>, kInitIndices> steps_a;
    std::array<std::array<std::int16_t, 32>, kInitIndices> steps_b;

    TrialTables() {
        const CostTables& tables = cost_tables();
        for (int scaled = -kLargestSum / 8; scaled < kLargestSum / 8; ++scaled) {
            const auto confidence = static_cast<std::size_t>(
                std::min(scaled < 0 ? -scaled : scaled, kCostEntries - 1));
            const auto at = static_cast<std::size_t>(scaled + kLargestSum / 8);
            costs[scaled >= 0][at] = tables.more_probable[confidence];
            costs[scaled < 0][at] = tables.less_probable[confidence];
        }
        for (std::size_t i = 0; i < kInitIndices; ++i) {
            for (std::size_t n = 0; n < kStep.size(); ++n) {
                steps_a[i][n] = static_cast<std::int16_t>(kStep[n] >> kShiftA[i]);
                steps_b[i][n] = static_cast<std::int16_t>(kStep[n] >> kShiftB[i]);
            }
        }
    }
};

const TrialTables& trial_tables() {
    static const TrialTables tables;
    return tables;
}

// A context that runs all initialisations side by side and adds up their costs.
class Trials {
public:
    Trials() { reset(); }
    void initialise(int) {}  // every one is tried
    void reset() {
        a_ = kInitialA;
        b_ = kInitialB;
    }
    template <int Sign>
    void charge(const TrialTables& tables) {
        const auto& costs = tables.costs[Sign > 0];
        for (std::size_t i = 0; i < kInitIndices; ++i) {
            const int a = a_[i];
            const int b = b_[i];
            costs_[i] += costs[static_cast<std::size_t>(((16 * a + b) >> 3) + kLargestSum / 8)];
            const auto step_a = static_cast<std::size_t>(16 + (Sign * a >> 3));
            const auto step_b = static_cast<std::size_t>(16 + (Sign * b >> 7));
            a_[i] = static_cast<std::int16_t>(a + Sign * tables.steps_a[i][step_a]);
            b_[i] = static_cast<std::int16_t>(b + Sign * tables.steps_b[i][step_b]);
        }
    }
    std::uint8_t best() const {
        std::size_t best = 0;
        for (std::size_t i = 1; i < costs_.size(); ++i) {
            const std::int64_t naming = 3 * kCostUnit;
            if (costs_[i] + naming < costs_[best] + (best ? naming : 0)) best = i;
        }
        return static_cast<std::uint8_t>(best);
    }

private:
    std::array<std::int16_t, kInitIndices> a_;
    std::array<std::int16_t, kInitIndices> b_;
    std::array<std::int64_t, kInitIndices> costs_{};
};

// Charges the bins of one segment in every `stride`; the others only pass.
struct SearchEngine {
    using ContextType = Trials;
    static constexpr bool kDecodes = false;

    unsigned context_bin(Trials& trials, unsigned bin) {
        if (!active) return bin;
        if (bin) {
            trials.charge<1>(*tables);
        } else {
            trials.charge<-1>(*tables);
        }
        return bin;
    }
    std::uint32_t bypass_bits(int, std::uint32_t value) { return value; }
    std::uint32_t enter_block_row() {
        --segment;  // the check before a block row begins no segment
        return 0;
    }
    void check_position() { active = segment++ % stride == 0; }
    std::int64_t position() const { return 0; }
    std::int64_t bit_position() const { return 0; }

    const TrialTables* tables = &trial_tables();
    std::int64_t stride = 1;
    std::int64_t segment = 0;
    bool active = true;
};

struct CostEngine {
    using ContextType = Context;
    static constexpr bool kDecodes = false;

    unsigned context_bin(Context& context, unsigned bin) {
        cost += context.cost(bin, *tables);
        context.adapt(bin);
        return bin;
    }
    std::uint32_t bypass_bits(int count, std::uint32_t value) {
        cost += count * kCostUnit;
        return value;
    }
    std::uint32_t enter_block_row() { return 0; }
    void check_position() const {}
    std::int64_t position() const { return 0; }
    std::int64_t bit_position() const { return 0; }

    const CostTables* tables = &cost_tables();
    std::int64_t cost = 0;
};

}  // namespace

std::vector<std::uint8_t> search_init_indices(const TensorSpec& spec,
                                              Span<const std::int32_t> levels,
                                              const TensorChoices& choices, std::int64_t stride) {
    if (stride < 1) throw argument_error("stride is not 1 or more");
    TensorChoices unindexed = choices;
    unindexed.init_indices = {};
    detail::check_encodable(spec, levels, unindexed);
    ContextBank<Trials> bank(spec.unary_length);
    std::vector<detail::BlockRowStart> starts;
    SearchEngine engine;
    engine.stride = stride;
    detail::TensorPayload<SearchEngine>(engine, spec, bank, starts).code(levels, unindexed, {});
    std::vector<std::uint8_t> indices;
    detail::for_each_initialised(bank, spec, choices.hist_dep_sig_prob_enabled_flag,
                                 [&](const Trials& trials, bool signalled) {
                                     if (signalled) indices.push_back(trials.best());
                                 });
    return indices;
}

std::int64_t estimate_cost(const TensorSpec& spec, Span<const std::int32_t> levels,
                           const TensorChoices& choices) {
    detail::check_encodable(spec, levels, choices);
    ContextBank<Context> bank(spec.unary_length);
    std::vector<detail::BlockRowStart> starts;
    CostEngine engine;
    detail::TensorPayload<CostEngine>(engine, spec, bank, starts).code(levels, choices, {});
    return engine.cost;
}

}  // namespace nnrcore
