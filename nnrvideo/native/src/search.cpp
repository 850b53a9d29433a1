// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/search.h"

#include <array>

#include "checks.h"
#include "payload.h"

namespace nnrcore {
namespace {

// A context that runs all initialisations side by side and adds up their costs.
struct Trials {
    std::array<Context, kInitIndices> contexts;
    std::array<std::int64_t, kInitIndices> costs{};

    Trials() {
        for (int i = 0; i < kInitIndices; ++i) contexts[static_cast<std::size_t>(i)].initialise(i);
    }
    void initialise(int) {}  // every one is tried
    void reset() {
        for (auto& context : contexts) context.reset();
    }
    std::uint8_t best() const {
        std::size_t best = 0;
        for (std::size_t i = 1; i < costs.size(); ++i) {
            const std::int64_t naming = 3 * kCostUnit;
            if (costs[i] + naming < costs[best] + (best ? naming : 0)) best = i;
        }
        return static_cast<std::uint8_t>(best);
    }
};

// Charges the bins of one segment in every `stride`; the others only pass.
struct SearchEngine {
    using ContextType = Trials;
    static constexpr bool kDecodes = false;

    unsigned context_bin(Trials& trials, unsigned bin) {
        if (!active) return bin;
        for (std::size_t i = 0; i < trials.contexts.size(); ++i) {
            trials.costs[i] += trials.contexts[i].cost(bin, *tables);
            trials.contexts[i].adapt(bin);
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

    const CostTables* tables = &cost_tables();
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
