// SPDX-License-Identifier: Apache-2.0
// Encoder-side estimates (spec/nnc.md §8, §13.4); nothing here is normative.
#pragma once

#include <cstdint>
#include <vector>

#include "nnrcore/tensor.h"

namespace nnrcore {

// The cheapest initialisation index of each signalled context, in transmission order. The indices
// in `choices` are ignored. Bins of one row segment in every `stride` are looked at.
std::vector<std::uint8_t> search_init_indices(const TensorSpec& spec,
                                              Span<const std::int32_t> levels,
                                              const TensorChoices& choices, std::int64_t stride = 1);

// Estimated size of the payload in 1/32768 bit.
std::int64_t estimate_cost(const TensorSpec& spec, Span<const std::int32_t> levels,
                           const TensorChoices& choices);

}  // namespace nnrcore
