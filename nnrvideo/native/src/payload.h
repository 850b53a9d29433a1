// SPDX-License-Identifier: Apache-2.0
// The syntax of one tensor's payload (spec/nnc.md §9), written once for every engine: decoding,
// encoding, searching initialisations and estimating cost.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "nnrcore/contexts.h"
#include "nnrcore/engine.h"
#include "nnrcore/errors.h"
#include "nnrcore/tensor.h"

namespace nnrcore::detail {

constexpr std::int64_t kUnlimited = std::int64_t{1} << 40;
constexpr int kLastPrefix = 30;

// A block row begun: position and the engine's offset (decoder) or low (encoder).
struct BlockRowStart {
    std::int64_t position;
    EntryPoint point;
};

// A run of block rows that is coded on its own (§10).
struct BlockRows {
    std::int64_t top = 0;     // first matrix row, a multiple of the block size
    std::int64_t bottom = 0;  // matrix row after the last
    unsigned state = 0;       // of dependent quantisation, at the start
    bool placed = false;      // the engine stands behind the entry into the first block row
};

// Calls visit(context, signalled) for each context in initialisation order (§9.1).
template <class AnyContext, class Visit>
void for_each_initialised(ContextBank<AnyContext>& bank, const TensorSpec& spec, bool history,
                          Visit visit) {
    const int states = spec.dq_flag ? 8 : 1;
    const std::int64_t size = spec.binarisation_codebook_size();
    const std::int64_t zero = spec.codebook_zero_offset;
    const std::int64_t largest = std::max(zero, size - 1 - zero);
    const bool has_sig = size != 1;
    const bool has_sign = has_sig && !(size > 0 && (zero == 0 || zero == size - 1));
    const int flags = 2 * spec.unary_length;

    for (int i = 0; i < 3 * states; ++i) visit(bank.sig()[i], has_sig);
    if (spec.temporal()) {
        for (int i = 0; i < 2 * states; ++i) visit(bank.sig_temporal()[i], has_sig);
    }
    if (history) {
        for (int i = 0; i < states; ++i) visit(bank.sig_history()[i], has_sig);
    }
    for (int i = 0; i < 3; ++i) visit(bank.sign()[i], has_sign);
    if (spec.temporal()) {
        for (int i = 0; i < 2; ++i) visit(bank.sign_temporal()[i], has_sign);
    }
    for (int i = 0; i < flags; ++i) visit(bank.greater()[i], size == 0 || i < 2 * largest);
    if (spec.temporal()) {
        for (int i = 0; i < flags; ++i) {
            visit(bank.greater_temporal()[i], size == 0 || i < 2 * (largest - 1));
        }
    }
    for (int i = 0; i < spec.remainder_contexts(); ++i) {
        visit(bank.remainder()[i],
              size == 0 || spec.unary_length - 2 + (std::int64_t{2} << i) < largest);
    }
}

inline std::int64_t expand(std::int64_t k, unsigned state) {
    const std::int64_t odd = state & 1;
    return 2 * k - (k > 0 ? odd : k < 0 ? -odd : 0);
}

inline std::int64_t contract(std::int64_t level, unsigned state) {
    const std::int64_t odd = state & 1;
    const std::int64_t doubled = level + (level > 0 ? odd : level < 0 ? -odd : 0);
    if (doubled & 1) {
        throw argument_error("a level is not on the quantiser of its dependent state");
    }
    return doubled / 2;
}

// The state machine's even branch has period 4, so a skipped row costs at most three steps.
inline unsigned skip_states(unsigned state, std::int64_t count) {
    for (std::int64_t i = count & 3; i > 0; --i) state = kDqNext[state][0];
    return state;
}

template <class Engine>
class TensorPayload {
public:
    using AnyContext = typename Engine::ContextType;

    TensorPayload(Engine& engine, const TensorSpec& spec, ContextBank<AnyContext>& bank,
                  std::vector<BlockRowStart>& starts)
        : engine_(engine), spec_(spec), bank_(bank), starts_(starts) {
        const std::int64_t size = spec.binarisation_codebook_size();
        largest_positive_ = size ? size - 1 - spec.codebook_zero_offset : kUnlimited;
        largest_negative_ = size ? spec.codebook_zero_offset : kUnlimited;
    }

    // Codes everything. When decoding, `wanted` has no levels and `found` receives them; otherwise
    // `found` stays untouched.
    TensorResult code(Span<const std::int32_t> wanted, const TensorChoices& choices,
                      const TensorBuffers& found) {
        const TensorResult result = code_head(choices, found);
        code_rows(wanted, choices, found, result, {0, spec_.rows, 0, false});
        return result;
    }

    // What comes before the values: flags and initialisation.
    TensorResult code_head(const TensorChoices& choices, const TensorBuffers& found) {
        TensorResult result;
        skip_flags(choices, found, result);
        result.init_count =
            initialisation(choices, found, result.hist_dep_sig_prob_enabled_flag);
        return result;
    }

    // Where the block row coded last started, in bits.
    std::int64_t row_start() const { return row_start_; }

    // The values of some block rows, or of all rows. Returns the state after them.
    unsigned code_rows(Span<const std::int32_t> wanted, const TensorChoices& choices,
                       const TensorBuffers& found, const TensorResult& head,
                       const BlockRows& rows) {
        const std::uint8_t* skipped = nullptr;
        if (head.row_skip_enabled_flag) {
            skipped = Engine::kDecodes ? found.row_skip_flags.data : choices.row_skip_flags.data;
        }
        const Values values{wanted.data, found.levels.data, skipped,
                            head.hist_dep_sig_prob_enabled_flag, rows};
        const bool neighbours = spec_.temporal() || values.history;
        const bool bounded = spec_.binarisation_codebook_size() != 0;
        if (neighbours) {
            return bounded ? select_dq<true, true>(values) : select_dq<true, false>(values);
        }
        return bounded ? select_dq<false, true>(values) : select_dq<false, false>(values);
    }

private:
    struct Values {
        const std::int32_t* wanted;
        std::int32_t* found;
        const std::uint8_t* skipped;
        bool history;
        BlockRows rows;
    };

    void skip_flags(const TensorChoices& choices, const TensorBuffers& found,
                    TensorResult& result) {
        if (!spec_.has_skip_flags()) return;
        if (spec_.parent_node_id_present_flag) {
            result.hist_dep_sig_prob_enabled_flag =
                engine_.bypass_bits(1, choices.hist_dep_sig_prob_enabled_flag) != 0;
        }
        if (result.hist_dep_sig_prob_enabled_flag && spec_.history.data == nullptr) {
            throw bitstream_error(Fault::syntax,
                                  "the history map that this tensor depends on does not exist",
                                  engine_.bit_position(), "hist_dep_sig_prob_enabled_flag",
                                  "§11.4");
        }
        result.row_skip_enabled_flag =
            engine_.bypass_bits(1, choices.row_skip_flags.data != nullptr) != 0;
        if (!result.row_skip_enabled_flag) return;
        for (std::size_t row = 0; row < static_cast<std::size_t>(spec_.rows); ++row) {
            const unsigned flag = Engine::kDecodes ? 0u : choices.row_skip_flags.data[row] != 0;
            const unsigned coded = engine_.context_bin(bank_.row(), flag);
            if (Engine::kDecodes) found.row_skip_flags.data[row] = static_cast<std::uint8_t>(coded);
        }
    }

    std::size_t initialisation(const TensorChoices& choices, const TensorBuffers& found,
                               bool history) {
        std::size_t count = 0;
        for_each_initialised(bank_, spec_, history, [&](AnyContext& context, bool signalled) {
            if (!signalled) {
                context.initialise(0);
                return;
            }
            std::uint32_t index = 0;
            if (count < choices.init_indices.size) index = choices.init_indices.data[count];
            if (engine_.context_bin(bank_.shift(), index > 0)) {
                index = 1 + engine_.bypass_bits(3, index - 1);
            } else {
                index = 0;
            }
            context.initialise(static_cast<int>(index));
            if (Engine::kDecodes) {
                found.init_indices.data[count] = static_cast<std::uint8_t>(index);
            }
            ++count;
        });
        return count;
    }

    template <bool Neighbours, bool Bounded>
    unsigned select_dq(const Values& all) {
        return spec_.dq_flag ? values<Neighbours, Bounded, true>(all)
                             : values<Neighbours, Bounded, false>(all);
    }

    // Values in scan order (§9.2, §9.3, §10). Works on a copy of the engine: nothing can alias a
    // local object, so its state stays in registers.
    template <bool Neighbours, bool Bounded, bool Dq>
    unsigned values(const Values all) {
        const std::int32_t* wanted = all.wanted;
        std::int32_t* found = all.found;
        const std::uint8_t* skipped = all.skipped;
        Engine engine = engine_;
        const std::int64_t rows = all.rows.bottom;
        const std::int64_t cols = spec_.cols;
        const std::int64_t block = spec_.block_size();
        const std::int64_t block_height = block ? block : std::max<std::int64_t>(rows, 1);
        const std::int64_t block_width = block ? block : std::max<std::int64_t>(cols, 1);
        const bool resets = block && (spec_.rows > block || spec_.nncodec1);
        const bool empty = spec_.binarisation_codebook_size() == 1;
        const std::int32_t* reference = spec_.reference.data;
        const std::uint8_t* marks = all.history ? spec_.history.data : nullptr;
        std::int64_t row_start = engine.position();
        unsigned state = all.rows.state;
        unsigned previous = 0;

        for (std::int64_t top = all.rows.top; top < rows && cols > 0; top += block_height) {
            if (resets) {
                if (top > all.rows.top || !all.rows.placed) {
                    engine.check_position();
                    const std::uint32_t offset = engine.enter_block_row();
                    if (top > 0) {
                        starts_.push_back({engine.position(),
                                           {offset, state, engine.position() - row_start}});
                    }
                    row_start = engine.position();
                }
                bank_.reset();
                previous = 0;
            }
            const std::int64_t bottom = std::min(top + block_height, rows);
            for (std::int64_t left = 0; left < cols; left += block_width) {
                const std::int64_t right = std::min(left + block_width, cols);
                for (std::int64_t row = top; row < bottom; ++row) {
                    engine.check_position();
                    const auto first = static_cast<std::size_t>(row * cols + left);
                    const auto count = static_cast<std::size_t>(right - left);
                    const bool skip = skipped != nullptr && skipped[row] != 0;
                    if (Dq && skip) state = skip_states(state, cols);
                    if (skip || empty) {
                        zero_segment(wanted, found, first, count);
                        continue;
                    }
                    for (std::size_t at = first; at < first + count; ++at) {
                        std::int64_t k = 0;
                        if (!Engine::kDecodes) {
                            if (wanted[at] < -kMaxLevel) {
                                throw argument_error("a level exceeds 31 bits");
                            }
                            k = Dq ? contract(wanted[at], state) : wanted[at];
                        }
                        const std::int64_t before = Neighbours && reference ? reference[at] : 0;
                        const bool marked = Neighbours && marks && marks[at] != 0;
                        k = value<Neighbours, Bounded>(engine, k, state, previous, before, marked);
                        previous = k == 0 ? 0 : k < 0 ? 1 : 2;
                        std::int64_t level = k;
                        if (Dq) {
                            level = expand(k, state);
                            if (Engine::kDecodes && (level > kMaxLevel || level < -kMaxLevel)) {
                                throw bitstream_error(Fault::syntax, "a level exceeds 31 bits",
                                                      engine.bit_position(), nullptr, "§6");
                            }
                            state = kDqNext[state][k & 1];
                        }
                        if (Engine::kDecodes) found[at] = static_cast<std::int32_t>(level);
                    }
                }
            }
        }
        engine.check_position();
        engine_ = engine;
        row_start_ = row_start;
        return state;
    }

    static void zero_segment(const std::int32_t* wanted, std::int32_t* found, std::size_t first,
                             std::size_t count) {
        if (Engine::kDecodes) {
            std::memset(found + first, 0, count * sizeof *found);
            return;
        }
        for (std::size_t at = first; at < first + count; ++at) {
            if (wanted[at] != 0) {
                throw argument_error("a row that is not coded has a level other than 0");
            }
        }
    }

public:
    // One value (§9.2): significance, sign, greater-than flags, remainder. Public for quantisers,
    // which move contexts one decided value at a time.
    template <bool Neighbours, bool Bounded>
    std::int64_t value(Engine& engine, std::int64_t k, unsigned state, unsigned previous,
                       std::int64_t reference, bool marked) {
        const std::int64_t distance = reference < 0 ? -reference : reference;
        const bool temporal = Neighbours && reference != 0;

        AnyContext* significance = bank_.sig() + 3 * state + previous;
        if (Neighbours && marked) {
            significance = bank_.sig_history() + state;
        } else if (temporal) {
            significance = bank_.sig_temporal() + 2 * state + (distance > 1);
        }
        if (!engine.context_bin(*significance, k != 0)) return 0;

        unsigned negative;
        if (Bounded && (largest_negative_ == 0 || largest_positive_ == 0)) {
            negative = largest_positive_ == 0;
        } else {
            AnyContext& sign =
                temporal ? bank_.sign_temporal()[reference > 0] : bank_.sign()[previous];
            negative = engine.context_bin(sign, k < 0);
        }

        const std::int64_t wanted = k < 0 ? -k : k;
        const std::int64_t largest =
            !Bounded ? kUnlimited : negative ? largest_negative_ : largest_positive_;
        if (!Engine::kDecodes && (wanted > largest || wanted > kMaxLevel || (k < 0) != negative)) {
            throw argument_error("a level is out of range or outside the codebook");
        }
        std::int64_t magnitude = 1;
        if (!Bounded || largest > 1) {
            const int unary_length = spec_.unary_length;
            AnyContext* greater = temporal ? bank_.greater_temporal() : bank_.greater() + negative;
            unsigned flag = 1;
            int number = 0;
            do {
                const std::ptrdiff_t low = temporal && distance < number;
                flag = engine.context_bin(greater[2 * number + low], wanted > magnitude);
                magnitude += flag;
                ++number;
            } while (flag && number < unary_length && (!Bounded || magnitude < largest));
            if (flag && (!Bounded || magnitude < largest)) {
                magnitude = remainder(engine, wanted, magnitude, largest);
            }
        }
        if (Engine::kDecodes && magnitude > std::min(largest, kMaxLevel)) {
            throw bitstream_error(Fault::syntax, "a coded value exceeds its bounds",
                                  engine.bit_position(), nullptr, "§9.2");
        }
        return negative ? -magnitude : magnitude;
    }

private:
    std::int64_t remainder(Engine& engine, std::int64_t wanted, std::int64_t magnitude,
                           std::int64_t largest) {
        int width = 0;
        int prefix = 0;
        unsigned flag = 1;
        while (flag && prefix <= kLastPrefix && magnitude + (std::int64_t{1} << width) <= largest) {
            flag = engine.context_bin(bank_.remainder()[prefix],
                                      wanted >= magnitude + (std::int64_t{1} << width));
            ++prefix;
            if (flag) {
                magnitude += std::int64_t{1} << width;
                ++width;
            }
        }
        return magnitude + static_cast<std::int64_t>(engine.bypass_bits(
                               width, static_cast<std::uint32_t>(wanted - magnitude)));
    }

    Engine& engine_;
    std::int64_t row_start_ = 0;  // of the block row coded last
    const TensorSpec& spec_;
    ContextBank<AnyContext>& bank_;
    std::vector<BlockRowStart>& starts_;
    std::int64_t largest_positive_;
    std::int64_t largest_negative_;
};

}  // namespace nnrcore::detail
