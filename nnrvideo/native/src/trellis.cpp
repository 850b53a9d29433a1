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
#include "pair.h"
#include "rates.h"
#include "ways.h"

namespace nnrcore {
namespace {

using namespace detail;

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
    Pair costs[kPairs];
    std::array<std::uint8_t, kDqStates> previous;  // context increment of the value before

    double cost(unsigned state) const { return costs[kPlaceOf[state] / 2][kPlaceOf[state] & 1]; }
    void set_cost(unsigned state, double cost) {
        Pair& pair = costs[kPlaceOf[state] / 2];
        pair = kPlaceOf[state] & 1 ? Pair{pair[0], cost} : Pair{cost, pair[1]};
    }
};

// The cheapest branch of either parity out of the states of each pair.
struct Branches {
    Pair even[kPairs];
    Pair odd[kPairs];
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
        for (Pair& pair : survivors_.costs) pair = both(kUnreached);
        survivors_.set_cost(0, 0.0);
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
            moved.set_cost(turned(state, turns), survivors_.cost(state));
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
        const Pair lowest = both(static_cast<double>(step.lowest));
        const Distortions distortions = {distortion(x, lowest, kToEven[step.lowest & 3]),
                                         distortion(x, lowest, kToOdd[step.lowest & 3]),
                                         weight_ * (x * x)};
        if (with_rate_) {
            extend_with_rate(step, distortions);
            if (size_ - adapted_ == kSegment) follow();
        } else {
            extend(step, distortions);
        }
    }

    void finish() {
        trace(0);
        write(size_);
    }

private:
    // Of the multiples around a value and of zero, each pair by parity.
    struct Distortions {
        Pair from_even;
        Pair from_odd;
        double zero;
    };

    // What led into each state: predecessor in bits 0...2, remainder in bits 3 and 4, or kZero.
    struct Step {
        std::size_t at;
        std::int64_t lowest;  // of the four multiples around |x|
        std::uint64_t origins;  // a byte for each state
        std::uint8_t turns;     // even steps after the value, of rows that are skipped
        bool negative;

        unsigned origin(unsigned state) const {
            return static_cast<unsigned>(origins >> 8 * state) & 0xffu;
        }
        std::int64_t multiple(unsigned remainder) const {
            return lowest + static_cast<std::int64_t>(
                                (remainder - static_cast<unsigned>(lowest & 3)) & 3u);
        }
        std::int64_t level(unsigned state) const {
            const unsigned chosen = origin(state);
            const std::int64_t magnitude = chosen & kZero ? 0 : multiple(chosen >> 3 & 3u);
            return negative ? -magnitude : magnitude;
        }
    };

    Pair distortion(double x, Pair lowest, const double* to) const {
        const Pair error = both(x) - (lowest + Pair{to[0], to[1]});
        return both(weight_) * (error * error);
    }

    void extend(Step& step, const Distortions& distortions) {
        // Without rates the best branch of either parity is the same for all states alike.
        const double even = distortions.from_even[0];
        const double odd = distortions.from_odd[0];
        const bool even_zero = distortions.zero < even;
        const bool odd_zero = distortions.zero < odd;
        const Pair branches[2][2] = {
            {both(even_zero ? distortions.zero : even), both(distortions.from_even[1])},
            {both(odd_zero ? distortions.zero : odd), both(distortions.from_odd[1])}};
        Branches out;
        for (unsigned pair = 0; pair < kPairs; ++pair) {
            out.even[pair] = survivors_.costs[pair] + branches[pair / 2][0];
            out.odd[pair] = survivors_.costs[pair] + branches[pair / 2][1];
        }
        const Marks& marks = kMarks[even_zero][odd_zero];
        arrive(step, out, marks.first.mask(), marks.second.mask());
    }

    void extend_with_rate(Step& step, const Distortions& distortions) {
        const Neighbourhood around = surroundings_.at(step.at);
        const double from[4] = {distortions.from_even[0], distortions.from_odd[1],
                                distortions.from_even[1], distortions.from_odd[0]};
        Pair non_zero[4];
        for (unsigned remainder = 0; remainder < 4; ++remainder) {
            const std::int64_t k = (step.multiple(remainder) + 1) >> 1;
            non_zero[remainder] =
                both(from[remainder] + rates_.magnitude(k, step.negative, around));
        }
        Branches out;
        PairMask zeros[kPairs];
        for (unsigned pair = 0; pair < kPairs; ++pair) {
            double zero[2];
            double other[2];
            for (unsigned n = 0; n < 2; ++n) {
                const unsigned state = kStateAt[2 * pair + n];
                const unsigned previous = survivors_.previous[state];
                zero[n] = rates_.significance(state, previous, around, false);
                other[n] = rates_.significance(state, previous, around, true) +
                           rates_.sign(previous, step.negative, around);
            }
            const Pair base = survivors_.costs[pair];
            const Pair with_zero = base + (both(distortions.zero) + Pair{zero[0], zero[1]});
            const Pair with_other = base + Pair{other[0], other[1]};
            const unsigned odd = pair / 2;
            const Pair even_branch = with_other + non_zero[remainder_of(odd, 0)];
            zeros[pair] = less(with_zero, even_branch);
            out.even[pair] = select(zeros[pair], with_zero, even_branch);
            out.odd[pair] = with_other + non_zero[remainder_of(odd, 1)];
        }
        // Even branches lead first into states 0, 1, 6 and 7, second into the others.
        constexpr Marks differing = differing_marks();
        const PairMask first =
            kMarks[0][0].first.mask() ^
            (differing.first.mask() & ((zeros[0] & bytes_of(0).mask()) |
                                       (zeros[2] & bytes_of(6).mask())));
        const PairMask second =
            kMarks[0][0].second.mask() ^
            (differing.second.mask() & ((zeros[1] & bytes_of(2).mask()) |
                                        (zeros[3] & bytes_of(4).mask())));
        arrive(step, out, first, second);
        const std::uint8_t sign = step.negative ? 1 : 2;
        for (unsigned state = 0; state < kDqStates; ++state) {
            survivors_.previous[state] = step.origin(state) & kZero ? 0 : sign;
        }
    }

    // Keeps the cheaper of the two ways into each state; which one it is, is a toss-up and decided
    // without branches.
    void arrive(Step& step, const Branches& out, PairMask first, PairMask second) {
        // States 0 and 1, 2 and 3, 4 and 5, 6 and 7.
        const Pair before[kPairs] = {out.even[0], out.odd[0], out.odd[2], out.even[2]};
        const Pair after[kPairs] = {out.odd[1], out.even[1], out.even[3], out.odd[3]};
        Pair best[kPairs];
        PairMask later{0, 0};
        for (unsigned n = 0; n < kPairs; ++n) {
            const PairMask which = less(after[n], before[n]);
            best[n] = select(which, after[n], before[n]);
            later = later | (which & bytes_of(2 * n).mask());
        }
        const PairMask marks = first ^ ((first ^ second) & later);
        step.origins =
            static_cast<std::uint64_t>(marks[0]) | static_cast<std::uint64_t>(marks[1]);
        survivors_.costs[0] = Pair{best[0][0], best[1][0]};
        survivors_.costs[1] = Pair{best[2][0], best[3][0]};
        survivors_.costs[2] = Pair{best[1][1], best[0][1]};
        survivors_.costs[3] = Pair{best[3][1], best[2][1]};
    }

    unsigned best_state() const {
        unsigned best = 0;
        for (unsigned state = 1; state < kDqStates; ++state) {
            if (survivors_.cost(state) < survivors_.cost(best)) best = state;
        }
        return best;
    }

    // State that the survivor of `state` was in before value `index`.
    unsigned before(std::size_t index, unsigned state) const {
        const unsigned from = steps_[index].origin(state) & 7u;
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
            const unsigned state = step.origin(path_[adapted_]) & 7u;
            const std::int64_t level = step.level(path_[adapted_]);
            const std::int64_t k = contract(level, state);
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
                    survivors_.set_cost(state, kUnreached);
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
    check_encodable(spec, {levels.data, levels.size}, choices);
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
