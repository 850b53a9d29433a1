// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/search.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "checks.h"
#include "payload.h"

namespace nnrcore {
namespace {

constexpr int kLargestSum = 4096;  // beyond what 16 a + b can become

// Initialisations of equal shifts form a family: they differ only in where they start, and two
// that have met stay together.
constexpr std::array<std::size_t, kInitIndices> kFamily = {0, 0, 0, 1, 2, 2, 2, 3, 3};
constexpr std::array<std::size_t, 4> kFirstOfFamily = {0, 3, 4, 7};
constexpr int kValuesOfA = 256;
constexpr int kValuesOfB = 16 * kValuesOfA;

constexpr bool families_have_shifts_of_their_own() {
    for (std::size_t index = 0; index < kInitIndices; ++index) {
        const std::size_t first = kFirstOfFamily[kFamily[index]];
        if (kShiftA[index] != kShiftA[first] || kShiftB[index] != kShiftB[first]) return false;
    }
    return true;
}
static_assert(families_have_shifts_of_their_own());

// The counters of a trial. Each family has a range of its own, which takes it to tables of its
// own: a + 256 f and b - 4096 f, so that 16 a + b is what it would be without. The first one is
// doubled, to be a place in bytes.
struct Counters {
    std::ptrdiff_t a2;
    std::ptrdiff_t b;

    Counters() = default;
    Counters(std::size_t family, int a, int b_alone)
        : a2(2 * (a + kValuesOfA * static_cast<int>(family))),
          b(b_alone - kValuesOfB * static_cast<int>(family)) {}
    std::ptrdiff_t sum() const { return 8 * a2 + b; }
    bool operator==(const Counters& other) const { return a2 == other.a2 && b == other.b; }
};

// What a bin costs and where it takes the counters, as Context computes it. A table of all values
// is one load, where the table of steps takes four instructions.
class BinTable {
public:
    explicit BinTable(unsigned bin) {
        const int below = static_cast<int>(bin) - 1;
        for (std::size_t family = 0; family < kFirstOfFamily.size(); ++family) {
            const Steps& steps = kSteps[kFirstOfFamily[family]];
            for (int a = 1 - kValuesOfA / 2; a < kValuesOfA / 2; ++a) {
                const auto step = static_cast<std::size_t>(16 + ((16 * a + below) >> 7));
                const Counters from(family, a, 0);
                const Counters to(family, a + steps.a[bin][step] / 16, 0);
                next_a2_[static_cast<std::size_t>(from.a2 / 2 + kValuesOfA / 2)] =
                    static_cast<std::int16_t>(to.a2);
            }
            for (int b = 1 - kValuesOfB / 2; b < kValuesOfB / 2; ++b) {
                const auto step = static_cast<std::size_t>(16 + ((b + below) >> 7));
                const Counters from(family, 0, b);
                const Counters to(family, 0, b + steps.b[bin][step]);
                next_b_[index_of_b(from.b)] = static_cast<std::int16_t>(to.b);
            }
        }
        const CostTables& tables = cost_tables();
        for (int scaled = -kLargestSum / 8; scaled < kLargestSum / 8; ++scaled) {
            const auto confidence = static_cast<std::size_t>(
                std::min(scaled < 0 ? -scaled : scaled, kCostEntries - 1));
            const bool probable = (scaled >= 0) == (bin == 1);
            cost_[static_cast<std::size_t>(scaled + kLargestSum / 8)] =
                probable ? tables.more_probable[confidence] : tables.less_probable[confidence];
        }
    }

    std::int32_t cost(const Counters& from) const {
        return (cost_.data() + kLargestSum / 8)[from.sum() >> 3];
    }
    void advance(Counters& counters) const {
        std::int16_t next;
        std::memcpy(&next, reinterpret_cast<const char*>(middle_of_a()) + counters.a2, sizeof next);
        counters.a2 = next;
        counters.b = next_b_[index_of_b(counters.b)];
    }

private:
    static constexpr std::size_t kFamilies = kFirstOfFamily.size();
    const std::int16_t* middle_of_a() const { return next_a2_.data() + kValuesOfA / 2; }
    static std::size_t index_of_b(std::ptrdiff_t b) {
        constexpr int kLowest = kValuesOfB * static_cast<int>(kFamilies - 1) + kValuesOfB / 2;
        return static_cast<std::size_t>(b + kLowest);
    }

    std::array<std::int16_t, kFamilies * kValuesOfA> next_a2_{};
    std::array<std::int16_t, kFamilies * kValuesOfB> next_b_{};
    std::array<std::int32_t, 2 * kLargestSum / 8> cost_{};
};

const std::array<BinTable, 2>& bin_tables() {
    static const std::array<BinTable, 2> tables = {BinTable(0), BinTable(1)};
    return tables;
}

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
        Counters counters;
        std::int64_t cost;
    };

    void begin() {
        for (std::size_t i = 0; i < kInitIndices; ++i) {
            trials_[i].counters = Counters(kFamily[i], kInitialA[i], kInitialB[i]);
        }
    }

    // Of trials that have met only the first one runs.
    void run() {
        if (count_ == 0) return;
        std::array<std::size_t, kInitIndices> leader;
        std::array<std::size_t, kInitIndices> leaders;
        std::size_t number = 0;
        for (std::size_t i = 0; i < kInitIndices; ++i) {
            leader[i] = i;
            for (std::size_t j = kFirstOfFamily[kFamily[i]]; j < i && leader[i] == i; ++j) {
                if (trials_[i].counters == trials_[j].counters) leader[i] = j;
            }
            if (leader[i] == i) leaders[number++] = i;
        }
        std::array<std::int64_t, kInitIndices> before;
        for (std::size_t i = 0; i < kInitIndices; ++i) before[i] = trials_[i].cost;
        const std::size_t* first = leaders.data();
        for (std::size_t passes = (number + 4) / 5; passes > 0; --passes) {
            // 3 to 5, for each of the four families has a trial among them.
            const std::size_t taken = (number + passes - 1) / passes;
            if (taken == 5) run<5>(first);
            if (taken == 4) run<4>(first);
            if (taken == 3) run<3>(first);
            first += taken;
            number -= taken;
        }
        for (std::size_t i = 0; i < kInitIndices; ++i) {
            const std::size_t j = leader[i];
            if (j == i) continue;
            trials_[i].counters = trials_[j].counters;
            trials_[i].cost += trials_[j].cost - before[j];
        }
        count_ = 0;
    }

    template <std::size_t Count>
    void run(const std::size_t* which) {
        const BinTable* const tables = bin_tables().data();
        std::array<Counters, Count> counters;
        std::array<std::int32_t, Count> cost{};  // a chunk's cost fits
        for (std::size_t i = 0; i < Count; ++i) counters[i] = trials_[which[i]].counters;
        for (std::size_t n = 0; n < count_; ++n) {
            const BinTable& table = tables[bins_[n]];
            for (std::size_t i = 0; i < Count; ++i) {
                cost[i] += table.cost(counters[i]);
                table.advance(counters[i]);
            }
        }
        for (std::size_t i = 0; i < Count; ++i) {
            Trial& trial = trials_[which[i]];
            trial.counters = counters[i];
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
