// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/search.h"

#include <algorithm>
#include <array>

#include "checks.h"
#include "payload.h"

namespace nnrcore {
namespace {

constexpr int kLargestSum = 4096;  // beyond what 16 a + b can become

// Cost of either bin by the context's sum >> 3: what Context computes.
struct TrialCosts {
    std::array<std::array<std::int32_t, 2 * kLargestSum / 8>, 2> of;

    TrialCosts() {
        const CostTables& tables = cost_tables();
        for (int scaled = -kLargestSum / 8; scaled < kLargestSum / 8; ++scaled) {
            const auto confidence = static_cast<std::size_t>(
                std::min(scaled < 0 ? -scaled : scaled, kCostEntries - 1));
            const auto at = static_cast<std::size_t>(scaled + kLargestSum / 8);
            of[scaled >= 0][at] = tables.more_probable[confidence];
            of[scaled < 0][at] = tables.less_probable[confidence];
        }
    }
};

const TrialCosts& trial_costs() {
    static const TrialCosts costs;
    return costs;
}

// The first initialisation that has the same shifts; those between the two have them, too.
constexpr std::array<std::size_t, kInitIndices> kFirstAlike = {0, 0, 0, 3, 4, 4, 4, 7, 7};

// A context that tries all initialisations and adds up what each would cost. It collects its bins
// and runs through them a chunk at a time, with the counters of a few trials in registers.
class Trials {
public:
    Trials() { begin(); }
    void initialise(int) {}  // every one is tried
    void reset() {
        run();
        begin();
    }
    void charge(unsigned bin) {
        bins_[count_] = static_cast<std::uint8_t>(bin);
        if (++count_ == bins_.size()) run();
    }
    std::uint8_t best() {
        run();
        std::size_t best = 0;
        for (std::size_t i = 1; i < kInitIndices; ++i) {
            const std::int64_t naming = 3 * kCostUnit;
            if (trials_[i].cost + naming < trials_[best].cost + (best ? naming : 0)) best = i;
        }
        return static_cast<std::uint8_t>(best);
    }

private:
    struct Trial {
        const Steps* steps;
        int a16;
        int b;
        std::int64_t cost;
    };

    void begin() {
        for (std::size_t i = 0; i < kInitIndices; ++i) {
            trials_[i].steps = &kSteps[i];
            trials_[i].a16 = 16 * kInitialA[i];
            trials_[i].b = kInitialB[i];
        }
    }

    // Trials of equal shifts that have met stay together: only the first of them runs.
    bool together(std::size_t i, std::size_t j) const {
        return trials_[i].a16 == trials_[j].a16 && trials_[i].b == trials_[j].b;
    }

    void run() {
        if (count_ == 0) return;
        std::array<std::size_t, kInitIndices> leader;
        std::array<std::size_t, kInitIndices> leaders;
        std::size_t number = 0;
        for (std::size_t i = 0; i < kInitIndices; ++i) {
            leader[i] = i;
            for (std::size_t j = kFirstAlike[i]; j < i && leader[i] == i; ++j) {
                if (together(i, j)) leader[i] = j;
            }
            if (leader[i] == i) leaders[number++] = i;
        }
        std::array<std::int64_t, kInitIndices> before;
        for (std::size_t i = 0; i < kInitIndices; ++i) before[i] = trials_[i].cost;
        std::size_t first = 0;
        for (; number - first >= 4; first += 4) run<4>(&leaders[first]);
        if (number - first == 3) run<3>(&leaders[first]);
        if (number - first == 2) run<2>(&leaders[first]);
        if (number - first == 1) run<1>(&leaders[first]);
        for (std::size_t i = 0; i < kInitIndices; ++i) {
            const std::size_t j = leader[i];
            if (j == i) continue;
            trials_[i].a16 = trials_[j].a16;
            trials_[i].b = trials_[j].b;
            trials_[i].cost += trials_[j].cost - before[j];
        }
        count_ = 0;
    }

    template <std::size_t Count>
    void run(const std::size_t* which) {
        const TrialCosts& costs = trial_costs();
        std::array<const Steps*, Count> steps;
        std::array<int, Count> a16;
        std::array<int, Count> b;
        std::array<std::int32_t, Count> cost{};  // a chunk's cost fits
        for (std::size_t i = 0; i < Count; ++i) {
            const Trial& trial = trials_[which[i]];
            steps[i] = trial.steps;
            a16[i] = trial.a16;
            b[i] = trial.b;
        }
        for (std::size_t n = 0; n < count_; ++n) {
            const unsigned bin = bins_[n];
            const int below = static_cast<int>(bin) - 1;
            const std::int32_t* const of = costs.of[bin].data() + kLargestSum / 8;
            for (std::size_t i = 0; i < Count; ++i) {
                cost[i] += of[(a16[i] + b[i]) >> 3];
                const std::ptrdiff_t step_a = 16 + ((a16[i] + below) >> 7);
                const std::ptrdiff_t step_b = 16 + ((b[i] + below) >> 7);
                a16[i] += steps[i]->a[bin].data()[step_a];
                b[i] += steps[i]->b[bin].data()[step_b];
            }
        }
        for (std::size_t i = 0; i < Count; ++i) {
            Trial& trial = trials_[which[i]];
            trial.a16 = a16[i];
            trial.b = b[i];
            trial.cost += cost[i];
        }
    }

    std::array<Trial, kInitIndices> trials_{};
    std::array<std::uint8_t, 240> bins_;
    std::size_t count_ = 0;
};

// Charges the bins of one segment in every `stride`; the others only pass.
struct SearchEngine {
    using ContextType = Trials;
    static constexpr bool kDecodes = false;

    unsigned context_bin(Trials& trials, unsigned bin) {
        if (active) trials.charge(bin);
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
                                 [&](Trials& trials, bool signalled) {
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
