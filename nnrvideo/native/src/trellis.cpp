// SPDX-License-Identifier: Apache-2.0
// Doubles only, each operation in the order of the Python reference, contraction into fused
// multiply-adds switched off by the build: both then find the same path, ties included.
#include "nnrcore/trellis.h"

#include <cmath>
#include <limits>
#include <vector>

#include "nnrcore/contexts.h"
#include "nnrcore/errors.h"
#include "nnrcore/tables.h"
#include "nnrcore/tensor.h"

namespace nnrcore {
namespace {

constexpr double kUnreached = std::numeric_limits<double>::max() / 2;
constexpr int kMaxPrefix = 31;
constexpr std::uint8_t kZero = 0x20;  // mark of the zero branch beside predecessor and remainder

// The two ways into a state, in the order they compete: predecessor, parity of the coded value.
struct Arrival {
    std::uint8_t from;
    std::uint8_t parity;
};
constexpr Arrival kArrivals[kDqStates][2] = {
    {{0, 0}, {4, 1}}, {{2, 0}, {6, 1}}, {{0, 1}, {4, 0}}, {{2, 1}, {6, 0}},
    {{3, 1}, {7, 0}}, {{1, 1}, {5, 0}}, {{3, 0}, {7, 1}}, {{1, 0}, {5, 1}}};

// The multiples m...m + 3 around |x|, each in the place of its remainder modulo 4.
struct Candidates {
    explicit Candidates(double x) {
        const auto below = static_cast<std::int64_t>(std::floor(x)) - 1;
        lowest = below < 1 ? 1 : below;
    }
    std::int64_t multiple(unsigned remainder) const {
        return lowest + static_cast<std::int64_t>(
                            (remainder - static_cast<unsigned>(lowest & 3)) & 3u);
    }
    std::int64_t lowest;
};

unsigned remainder_of(unsigned state, unsigned parity) {
    return parity ? 2 - (state & 1) : 3 * (state & 1);
}

// The contexts along the cheapest path into one state.
struct Survivor {
    std::vector<Context> contexts;
    unsigned previous = 0;
};

// Runs visit(slot, bin) for each bin that codes k; returns the number of bypass bins (§9.2).
template <class Visit>
int for_each_bin(std::int64_t k, unsigned state, unsigned previous, int unary_length,
                 Visit visit) {
    constexpr std::size_t kSign = 24;
    constexpr std::size_t kGreater = 27;
    const std::size_t remainder = kGreater + 2 * static_cast<std::size_t>(unary_length);
    visit(std::size_t{3} * state + previous, k != 0);
    if (k == 0) return 0;
    const unsigned negative = k < 0;
    visit(kSign + previous, negative);
    const std::int64_t wanted = negative ? -k : k;
    std::int64_t magnitude = 1;
    bool flag = true;
    for (int number = 0; flag && number < unary_length; ++number) {
        flag = wanted > magnitude;
        visit(kGreater + 2 * static_cast<std::size_t>(number) + negative, flag);
        magnitude += flag;
    }
    int width = 0;
    while (flag && width < kMaxPrefix) {
        const std::int64_t next = magnitude + (std::int64_t{1} << width);
        flag = wanted >= next;
        visit(remainder + static_cast<std::size_t>(width), flag);
        if (flag) {
            magnitude = next;
            ++width;
        }
    }
    return width;
}

class Rate {
public:
    Rate(bool enabled, int unary_length) : enabled_(enabled), unary_length_(unary_length) {
        if (!enabled) return;
        const std::size_t slots = 27 + 2 * static_cast<std::size_t>(unary_length) + kMaxPrefix;
        for (auto& survivor : survivors_) survivor.contexts.resize(slots);
        next_ = survivors_;
    }

    double cost(unsigned state, std::int64_t k) const {
        const Survivor& survivor = survivors_[state];
        std::int64_t cost = 0;
        const int bypass = for_each_bin(k, state, survivor.previous, unary_length_,
                                        [&](std::size_t slot, unsigned bin) {
                                            cost += survivor.contexts[slot].cost(bin, tables_);
                                        });
        return static_cast<double>(cost + bypass * kCostUnit);
    }

    void extend(unsigned target, unsigned from, std::int64_t k) {
        Survivor& survivor = next_[target];
        survivor = survivors_[from];
        for_each_bin(k, from, survivor.previous, unary_length_,
                     [&](std::size_t slot, unsigned bin) { survivor.contexts[slot].adapt(bin); });
        survivor.previous = k == 0 ? 0 : k < 0 ? 1 : 2;
    }

    void advance() { survivors_.swap(next_); }
    bool enabled() const { return enabled_; }

private:
    bool enabled_;
    int unary_length_;
    const CostTables& tables_ = cost_tables();
    std::vector<Survivor> survivors_{kDqStates};
    std::vector<Survivor> next_{kDqStates};
};

// What led into a state: predecessor in bits 0...2, remainder in bits 3 and 4, or kZero.
using Step = std::array<std::uint8_t, kDqStates>;

template <bool WithRate>
void search(const float* scaled, std::size_t size, double weight, Rate& rate,
            std::vector<Step>& history, std::array<double, kDqStates>& costs) {
    for (std::size_t at = 0; at < size; ++at) {
        const double x = std::fabs(static_cast<double>(scaled[at]));
        const std::int64_t sign = scaled[at] < 0 ? -1 : 1;
        const Candidates candidates(x);
        double distortions[4];
        for (unsigned remainder = 0; remainder < 4; ++remainder) {
            const double error = x - static_cast<double>(candidates.multiple(remainder));
            distortions[remainder] = weight * (error * error);
        }
        const double zero_distortion = weight * (x * x);

        std::array<double, kDqStates> best;
        Step& step = history[at];
        for (unsigned target = 0; target < kDqStates; ++target) {
            double smallest = std::numeric_limits<double>::infinity();
            std::uint8_t chosen = 0;
            for (const Arrival& arrival : kArrivals[target]) {
                const unsigned remainder = remainder_of(arrival.from, arrival.parity);
                double cost = costs[arrival.from] + distortions[remainder];
                if (WithRate) {
                    const std::int64_t k = sign * ((candidates.multiple(remainder) + 1) >> 1);
                    cost += rate.cost(arrival.from, k);
                }
                if (cost < smallest) {
                    smallest = cost;
                    chosen = static_cast<std::uint8_t>(arrival.from | remainder << 3);
                }
                if (arrival.parity == 0) {
                    cost = costs[arrival.from] + zero_distortion;
                    if (WithRate) cost += rate.cost(arrival.from, 0);
                    if (cost < smallest) {
                        smallest = cost;
                        chosen = static_cast<std::uint8_t>(arrival.from | kZero);
                    }
                }
            }
            best[target] = smallest;
            step[target] = chosen;
        }
        costs = best;
        if (WithRate) {
            for (unsigned target = 0; target < kDqStates; ++target) {
                const std::uint8_t chosen = step[target];
                const std::int64_t multiple =
                    chosen & kZero ? 0 : candidates.multiple(chosen >> 3 & 3u);
                rate.extend(target, chosen & 7u, sign * ((multiple + 1) >> 1));
            }
            rate.advance();
        }
    }
}

}  // namespace

void trellis_search(const float* scaled, std::size_t scaled_size, double lambda, int unary_length,
                    std::int32_t* levels, std::size_t levels_size) {
    if (levels_size != scaled_size) throw argument_error("levels do not have the values' size");
    if (!(lambda >= 0.0) || !std::isfinite(lambda)) {
        throw argument_error("lambda is not a finite number >= 0");
    }
    if (unary_length < 1 || unary_length > kMaxUnaryLength) {
        throw argument_error("unary_length is out of range");
    }
    for (std::size_t at = 0; at < scaled_size; ++at) {
        if (!(std::fabs(static_cast<double>(scaled[at])) + 4.0 <= static_cast<double>(kMaxLevel))) {
            throw argument_error("a value is not finite, or its level exceeds 31 bits");
        }
    }
    const bool with_rate = lambda > 0.0;
    const double weight =
        with_rate
            ? static_cast<double>(kCostUnit) / (lambda * 4.0 * std::log(2.0) / 6.0 * 0.7)
            : 1.0;
    std::vector<Step> history(scaled_size);
    std::array<double, kDqStates> costs;
    costs.fill(kUnreached);
    costs[0] = 0.0;
    Rate rate(with_rate, unary_length);
    with_rate ? search<true>(scaled, scaled_size, weight, rate, history, costs)
              : search<false>(scaled, scaled_size, weight, rate, history, costs);

    unsigned state = 0;
    for (unsigned other = 1; other < kDqStates; ++other) {
        if (costs[other] < costs[state]) state = other;
    }
    for (std::size_t at = scaled_size; at-- > 0;) {
        const std::uint8_t chosen = history[at][state];
        const Candidates candidates(std::fabs(static_cast<double>(scaled[at])));
        const std::int64_t multiple = chosen & kZero ? 0 : candidates.multiple(chosen >> 3 & 3u);
        levels[at] = static_cast<std::int32_t>(scaled[at] < 0 ? -multiple : multiple);
        state = chosen & 7u;
    }
}

}  // namespace nnrcore
