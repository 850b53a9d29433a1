// SPDX-License-Identifier: Apache-2.0
// Doubles only, each operation in the order of the Python reference, contraction into fused
// multiply-adds switched off by the build: both then find the same path, ties included.
#include "nnrcore/trellis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "checks.h"
#include "nnrcore/errors.h"
#include "nnrcore/tables.h"
#include "rates.h"

namespace nnrcore {
namespace {

using detail::Neighbourhood;
using detail::Rates;

constexpr double kUnreached = std::numeric_limits<double>::max() / 2;

// Values whose survivors are remembered, and how many of them are settled when that many are
// reached. Eight survivors meet within some forty values, but none meet within a run of zeros.
constexpr std::size_t kWindow = 8192;
constexpr std::size_t kSettled = kWindow / 4 * 3;

// Contexts follow the best path in steps of so many values. Carrying contexts along each survivor
// costs three times as much and saves a thousandth of the rate.
constexpr std::size_t kSegment = 16;

// A rate of less weight decides nothing, and its costs would leave what a double can add up.
constexpr double kSmallestLambda = 1e-9;

constexpr std::uint8_t kZero = 0x20;  // mark of the zero branch beside predecessor and remainder

// The two ways into a state, in the order they compete: predecessor, parity of the coded value.
struct Arrival {
    std::uint8_t from;
    std::uint8_t parity;
};
constexpr Arrival kArrivals[kDqStates][2] = {
    {{0, 0}, {4, 1}}, {{2, 0}, {6, 1}}, {{0, 1}, {4, 0}}, {{2, 1}, {6, 0}},
    {{3, 1}, {7, 0}}, {{1, 1}, {5, 0}}, {{3, 0}, {7, 1}}, {{1, 0}, {5, 1}}};

unsigned remainder_of(unsigned state, unsigned parity) {
    return parity ? 2 - (state & 1) : 3 * (state & 1);
}

unsigned turned(unsigned state, unsigned turns) {
    for (; turns > 0; --turns) state = kDqNext[state][0];
    return state;
}

// Reference level and history mark of each value.
class Surroundings {
public:
    Surroundings(const TensorSpec& spec, const TensorChoices& choices)
        : reference_(spec.reference.data),
          marks_(choices.hist_dep_sig_prob_enabled_flag ? spec.history.data : nullptr) {}

    Neighbourhood at(std::size_t index) const {
        Neighbourhood around;
        if (reference_) around.reference = reference_[index];
        if (marks_) around.marked = marks_[index] != 0;
        return around;
    }

private:
    const std::int32_t* reference_;
    const std::uint8_t* marks_;
};

struct Survivors {
    std::array<double, kDqStates> costs;
    std::array<std::uint8_t, kDqStates> previous;  // context increment of the value before
};

class Trellis {
public:
    Trellis(const TensorSpec& spec, const TensorChoices& choices, double weight, bool with_rate,
            std::int32_t* levels)
        : rates_(spec, choices),
          surroundings_(spec, choices),
          weight_(weight),
          with_rate_(with_rate),
          levels_(levels) {
        survivors_.costs.fill(kUnreached);
        survivors_.costs[0] = 0.0;
        survivors_.previous.fill(0);
    }

    void begin_block_row() {
        if (!with_rate_) return;
        rates_.reset();
        survivors_.previous.fill(0);
        adapted_ = size_;
        adapted_previous_ = 0;
    }

    // A skipped row moves every survivor along even steps (§9.3).
    void skip_row(std::int64_t cols) {
        const auto turns = static_cast<unsigned>(cols & 3);
        if (turns == 0) return;
        Survivors moved;
        for (unsigned state = 0; state < kDqStates; ++state) {
            moved.costs[turned(state, turns)] = survivors_.costs[state];
            moved.previous[turned(state, turns)] = survivors_.previous[state];
        }
        survivors_ = moved;
        if (size_ > 0) {
            Step& last = steps_[size_ - 1];
            last.turns = static_cast<std::uint8_t>((last.turns + turns) & 3);
        }
    }

    void value(std::size_t at, float scaled) {
        if (size_ == kWindow) settle();
        const double x = std::fabs(static_cast<double>(scaled));
        Step& step = steps_[size_++];
        step.at = at;
        step.lowest = std::max<std::int64_t>(1, static_cast<std::int64_t>(x) - 1);
        step.negative = scaled < 0;
        step.turns = 0;
        double distortions[4];
        for (unsigned remainder = 0; remainder < 4; ++remainder) {
            const double error = x - static_cast<double>(step.multiple(remainder));
            distortions[remainder] = weight_ * (error * error);
        }
        const double zero_distortion = weight_ * (x * x);
        if (with_rate_) {
            extend_with_rate(step, distortions, zero_distortion);
            if (size_ - adapted_ == kSegment) follow();
        } else {
            extend(step, distortions, zero_distortion);
        }
    }

    void finish() {
        trace(0);
        write(size_);
    }

private:
    // What led into each state: predecessor in bits 0...2, remainder in bits 3 and 4, or kZero.
    struct Step {
        std::size_t at;
        std::int64_t lowest;  // of the four multiples around |x|
        std::array<std::uint8_t, kDqStates> origin;
        std::uint8_t turns;  // even steps after the value, of rows that are skipped
        bool negative;

        std::int64_t multiple(unsigned remainder) const {
            return lowest + static_cast<std::int64_t>(
                                (remainder - static_cast<unsigned>(lowest & 3)) & 3u);
        }
        std::int64_t level(unsigned state) const {
            const std::uint8_t chosen = origin[state];
            const std::int64_t magnitude = chosen & kZero ? 0 : multiple(chosen >> 3 & 3u);
            return negative ? -magnitude : magnitude;
        }
    };

    void extend(Step& step, const double* distortions, double zero_distortion) {
        // Without rates the best branch of either parity is the same for all states alike.
        double even[2];
        std::uint8_t even_mark[2];
        for (unsigned odd = 0; odd < 2; ++odd) {
            const unsigned remainder = remainder_of(odd, 0);
            const bool zero = zero_distortion < distortions[remainder];
            even[odd] = zero ? zero_distortion : distortions[remainder];
            even_mark[odd] = zero ? kZero : static_cast<std::uint8_t>(remainder << 3);
        }
        const double odd_distortion[2] = {distortions[2], distortions[1]};
        constexpr std::uint8_t odd_mark[2] = {2 << 3, 1 << 3};
        std::array<double, kDqStates> best;
        for (unsigned target = 0; target < kDqStates; ++target) {
            const Arrival first = kArrivals[target][0];
            const Arrival second = kArrivals[target][1];
            const unsigned a = first.from & 1u;
            const unsigned b = second.from & 1u;
            const double cost_a =
                survivors_.costs[first.from] + (first.parity ? odd_distortion[a] : even[a]);
            const double cost_b =
                survivors_.costs[second.from] + (second.parity ? odd_distortion[b] : even[b]);
            const unsigned mark_a = first.from | (first.parity ? odd_mark[a] : even_mark[a]);
            const unsigned mark_b = second.from | (second.parity ? odd_mark[b] : even_mark[b]);
            // Which of the two is cheaper is a toss-up: selected without a branch.
            best[target] = std::min(cost_a, cost_b);
            const unsigned later = 0u - static_cast<unsigned>(cost_b < cost_a);
            step.origin[target] =
                static_cast<std::uint8_t>(mark_a ^ ((mark_a ^ mark_b) & later));
        }
        survivors_.costs = best;
    }

    void extend_with_rate(Step& step, const double* distortions, double zero_distortion) {
        const Neighbourhood around = surroundings_.at(step.at);
        double non_zero[4];
        for (unsigned remainder = 0; remainder < 4; ++remainder) {
            const std::int64_t k = (step.multiple(remainder) + 1) >> 1;
            non_zero[remainder] =
                distortions[remainder] + rates_.magnitude(k, step.negative, around);
        }
        // The cheapest branch of either parity out of each state.
        double costs[2][kDqStates];
        std::uint8_t marks[2][kDqStates];
        for (unsigned state = 0; state < kDqStates; ++state) {
            const unsigned previous = survivors_.previous[state];
            const double base = survivors_.costs[state];
            const double zero = base + (zero_distortion +
                                        rates_.significance(state, previous, around, false));
            const double other = base + (rates_.significance(state, previous, around, true) +
                                         rates_.sign(previous, step.negative, around));
            for (unsigned parity = 0; parity < 2; ++parity) {
                const unsigned remainder = remainder_of(state, parity);
                costs[parity][state] = other + non_zero[remainder];
                marks[parity][state] = static_cast<std::uint8_t>(state | remainder << 3);
            }
            if (zero < costs[0][state]) {
                costs[0][state] = zero;
                marks[0][state] = static_cast<std::uint8_t>(state | kZero);
            }
        }
        const std::uint8_t sign = step.negative ? 1 : 2;
        for (unsigned target = 0; target < kDqStates; ++target) {
            const Arrival first = kArrivals[target][0];
            const Arrival second = kArrivals[target][1];
            const double cost_a = costs[first.parity][first.from];
            const double cost_b = costs[second.parity][second.from];
            const bool later = cost_b < cost_a;
            survivors_.costs[target] = later ? cost_b : cost_a;
            const std::uint8_t mark =
                later ? marks[second.parity][second.from] : marks[first.parity][first.from];
            step.origin[target] = mark;
            survivors_.previous[target] = mark & kZero ? 0 : sign;
        }
    }

    unsigned best_state() const {
        const auto& costs = survivors_.costs;
        return static_cast<unsigned>(std::min_element(costs.begin(), costs.end()) - costs.begin());
    }

    // State that the survivor of `state` was in before value `index`.
    unsigned before(std::size_t index, unsigned state) const {
        const unsigned from = steps_[index].origin[state] & 7u;
        return index == 0 ? from : turned(from, (4u - steps_[index - 1].turns) & 3u);
    }

    // Notes in path_ the state that the best survivor is in after each value from `first` on.
    void trace(std::size_t first) {
        unsigned state = size_ ? turned(best_state(), (4u - steps_[size_ - 1].turns) & 3u) : best_state();
        for (std::size_t index = size_; index-- > first;) {
            path_[index] = static_cast<std::uint8_t>(state);
            state = before(index, state);
        }
    }

    // Adapts the contexts to what the best survivor decided last.
    void follow() {
        trace(adapted_);
        for (; adapted_ < size_; ++adapted_) {
            const Step& step = steps_[adapted_];
            const unsigned state = step.origin[path_[adapted_]] & 7u;
            const std::int64_t level = step.level(path_[adapted_]);
            const std::int64_t k = detail::contract(level, state);
            rates_.adapt(k, state, adapted_previous_, surroundings_.at(step.at));
            adapted_previous_ = k == 0 ? 0 : k < 0 ? 1 : 2;
        }
        rates_.refresh();
    }

    void write(std::size_t count) {
        for (std::size_t index = 0; index < count; ++index) {
            const Step& step = steps_[index];
            levels_[step.at] = static_cast<std::int32_t>(step.level(path_[index]));
        }
    }

    // Writes the older half of the window and forgets it. Survivors that disagree about it are
    // given up, or the path would break where the halves meet.
    void settle() {
        trace(0);
        for (unsigned state = 0; state < kDqStates; ++state) {
            unsigned back = turned(state, (4u - steps_[size_ - 1].turns) & 3u);
            for (std::size_t index = size_; index-- > kSettled && back != path_[index];) {
                back = before(index, back);
                if (index == kSettled && back != path_[kSettled - 1]) {
                    survivors_.costs[state] = kUnreached;
                }
            }
        }
        write(kSettled);
        std::memmove(steps_.data(), steps_.data() + kSettled, (size_ - kSettled) * sizeof(Step));
        size_ -= kSettled;
        adapted_ = adapted_ < kSettled ? 0 : adapted_ - kSettled;
    }

    Rates rates_;
    Surroundings surroundings_;
    double weight_;
    bool with_rate_;
    std::int32_t* levels_;
    Survivors survivors_;
    std::vector<Step> steps_ = std::vector<Step>(kWindow);
    std::vector<std::uint8_t> path_ = std::vector<std::uint8_t>(kWindow);
    std::size_t size_ = 0;
    std::size_t adapted_ = 0;  // values that the contexts have seen
    unsigned adapted_previous_ = 0;
};

// Without the trellis each value is decided at once: zero or one of the two nearest levels.
class Scalar {
public:
    Scalar(const TensorSpec& spec, const TensorChoices& choices, double weight, bool with_rate,
           std::int32_t* levels)
        : rates_(spec, choices),
          surroundings_(spec, choices),
          weight_(weight),
          with_rate_(with_rate),
          levels_(levels) {}

    void begin_block_row() {
        if (with_rate_) rates_.reset();
        previous_ = 0;
        fresh_ = 0;
    }
    void skip_row(std::int64_t) {}

    void value(std::size_t at, float scaled) {
        const double x = std::fabs(static_cast<double>(scaled));
        const bool negative = scaled < 0;
        auto magnitude = static_cast<std::int64_t>(std::floor(x + 0.5));
        if (with_rate_) magnitude = decide(at, x, negative, magnitude);
        levels_[at] = static_cast<std::int32_t>(negative ? -magnitude : magnitude);
    }
    void finish() {}

private:
    std::int64_t decide(std::size_t at, double x, bool negative, std::int64_t nearest) {
        const Neighbourhood around = surroundings_.at(at);
        std::int64_t best = 0;
        double smallest =
            weight_ * (x * x) + rates_.significance(0, previous_, around, false);
        const double other = rates_.significance(0, previous_, around, true) +
                             rates_.sign(previous_, negative, around);
        for (std::int64_t k = std::max<std::int64_t>(1, nearest - 1); k <= nearest; ++k) {
            const double error = x - static_cast<double>(k);
            const double cost =
                weight_ * (error * error) + (other + rates_.magnitude(k, negative, around));
            if (cost < smallest) {
                smallest = cost;
                best = k;
            }
        }
        const std::int64_t k = negative ? -best : best;
        rates_.adapt(k, 0, previous_, around);
        previous_ = k == 0 ? 0 : k < 0 ? 1 : 2;
        if (++fresh_ == kSegment) {
            rates_.refresh();
            fresh_ = 0;
        }
        return best;
    }

    Rates rates_;
    Surroundings surroundings_;
    double weight_;
    bool with_rate_;
    std::int32_t* levels_;
    unsigned previous_ = 0;
    std::size_t fresh_ = 0;
};

// Hands the values to a quantiser in coding order (§10), as TensorPayload codes them.
template <class Quantiser, class Scale>
void run(Quantiser& quantiser, const TensorSpec& spec, Span<const float> values,
         const std::uint8_t* skipped, std::int32_t* levels, Scale scale) {
    const std::int64_t block = spec.block_size();
    const std::int64_t height = block ? block : std::max<std::int64_t>(spec.rows, 1);
    const std::int64_t width = block ? block : std::max<std::int64_t>(spec.cols, 1);
    const bool resets = block && (spec.rows > block || spec.nncodec1);
    for (std::int64_t top = 0; top < spec.rows && spec.cols > 0; top += height) {
        if (resets) quantiser.begin_block_row();
        const std::int64_t bottom = std::min(top + height, spec.rows);
        for (std::int64_t left = 0; left < spec.cols; left += width) {
            const std::int64_t right = std::min(left + width, spec.cols);
            for (std::int64_t row = top; row < bottom; ++row) {
                const auto first = static_cast<std::size_t>(row * spec.cols + left);
                const auto end = static_cast<std::size_t>(row * spec.cols + right);
                if (skipped != nullptr && skipped[row] != 0) {
                    quantiser.skip_row(spec.cols);
                    std::fill(levels + first, levels + end, 0);
                    continue;
                }
                for (std::size_t at = first; at < end; ++at) {
                    const float scaled = scale(values.data[at]);
                    if (!(std::fabs(static_cast<double>(scaled)) + 4.0 <=
                          static_cast<double>(kMaxLevel))) {
                        throw argument_error(
                            "a value is not finite, or its level exceeds 31 bits");
                    }
                    quantiser.value(at, scaled);
                }
            }
        }
    }
    quantiser.finish();
}

}  // namespace

void quantise_tensor(const TensorSpec& spec, Span<const float> values, float step, double lambda,
                     const TensorChoices& choices, Span<std::int32_t> levels) {
    detail::check_encodable(spec, {levels.data, levels.size}, choices);
    if (values.size != levels.size) throw argument_error("levels do not have the values' size");
    if (spec.codebook_size) throw argument_error("a codebook has no evenly spaced levels");
    if (!(step > 0.0f) || !std::isfinite(step)) {
        throw argument_error("step is not a finite number > 0");
    }
    if (!(lambda >= 0.0) || !std::isfinite(lambda)) {
        throw argument_error("lambda is not a finite number >= 0");
    }
    const bool with_rate = lambda > kSmallestLambda;
    // At high rates a bit buys 2 ln 2 of the distortion, which is a twelfth of a squared step for
    // scalar quantisers and, at twice the step, four times that less the trellis's gain.
    const double price = lambda * std::log(2.0) / 6.0;
    const auto unit = static_cast<double>(kCostUnit);
    const std::uint8_t* skipped = choices.row_skip_flags.data;
    if (spec.dq_flag) {
        Trellis trellis(spec, choices, with_rate ? unit / (price * 4.0 * 0.7) : 1.0, with_rate,
                        levels.data);
        // A true quotient: the reciprocal's rounding error shows where levels are large.
        run(trellis, spec, values, skipped, levels.data, [=](float w) { return w / step; });
    } else {
        const float reciprocal = 1.0f / step;
        Scalar scalar(spec, choices, with_rate ? unit / price : 1.0, with_rate, levels.data);
        run(scalar, spec, values, skipped, levels.data, [=](float w) { return w * reciprocal; });
    }
}

}  // namespace nnrcore
