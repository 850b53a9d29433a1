// SPDX-License-Identifier: Apache-2.0
// What a caller may ask an encoder, a search or an estimate to run on.
#pragma once

#include "nnrcore/errors.h"
#include "nnrcore/tensor.h"
#include "payload.h"

namespace nnrcore::detail {

struct CountedContext {
    void initialise(int) {}
    void reset() {}
};

// Checks sizes and choices; the levels themselves are checked while they are coded.
inline void check_encodable(const TensorSpec& spec, Span<const std::int32_t> levels,
                            const TensorChoices& choices) {
    spec.validate();
    if (levels.size != spec.elements()) {
        throw argument_error("levels do not have the tensor's size");
    }
    if (choices.hist_dep_sig_prob_enabled_flag &&
        !(spec.has_skip_flags() && spec.parent_node_id_present_flag && spec.history.data)) {
        throw argument_error("history-dependent significance has no place in this tensor");
    }
    if (choices.row_skip_flags.data != nullptr &&
        (!spec.has_skip_flags() ||
         choices.row_skip_flags.size != static_cast<std::size_t>(spec.rows))) {
        throw argument_error("row skip flags have no place in this tensor, or not one per row");
    }
    if (choices.init_indices.size == 0) return;
    std::size_t expected = 0;
    ContextBank<CountedContext> bank(spec.unary_length);
    for_each_initialised(bank, spec, choices.hist_dep_sig_prob_enabled_flag,
                         [&](CountedContext&, bool signalled) { expected += signalled; });
    if (choices.init_indices.size != expected) {
        throw argument_error("there is not one initialisation index per signalled context");
    }
    for (std::size_t i = 0; i < expected; ++i) {
        if (choices.init_indices.data[i] >= kInitIndices) {
            throw argument_error("an initialisation index is out of range");
        }
    }
}

}  // namespace nnrcore::detail
