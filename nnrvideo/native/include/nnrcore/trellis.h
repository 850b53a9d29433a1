// SPDX-License-Identifier: Apache-2.0
// Quantisation by the sum of distortion and rate (spec/nnc.md §6.1, §13.2, §13.3); an encoder's
// choice, not normative.
#pragma once

#include <cstdint>

#include "nnrcore/tensor.h"

namespace nnrcore {

// Quantises a tensor: along the cheapest path of the eight-state trellis with `spec.dq_flag`, value
// by value without.
//   values   rows * cols values in the tensor's order
//   step     quantisation step, > 0; |value / step| + 4 < 2^31
//   lambda   weight of the rate, 0 for distortion alone
//   choices  initialisation, skipped rows (all their levels become 0) and history flag that the
//            rate is estimated under; the levels are meant to be coded with the same skipped rows
//   levels   receives rows * cols levels, expanded ones with dq_flag
// The specification must have no codebook.
void quantise_tensor(const TensorSpec& spec, Span<const float> values, float step, double lambda,
                     const TensorChoices& choices, Span<std::int32_t> levels);

}  // namespace nnrcore
