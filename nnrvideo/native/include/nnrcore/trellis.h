// SPDX-License-Identifier: Apache-2.0
// Trellis search of dependent quantisation (spec/nnc.md §6.1, §13.3).
#pragma once

#include <cstddef>
#include <cstdint>

namespace nnrcore {

// Finds the cheapest path through the eight-state trellis.
//   scaled        n values divided by the step, in coding order, |x| + 4 < 2^31
//   lambda        weight of the rate, 0 for distortion alone
//   unary_length  greater-than flags the rate estimate assumes, 1...256
//   levels        receives n expanded levels
void trellis_search(const float* scaled, std::size_t scaled_size, double lambda, int unary_length,
                    std::int32_t* levels, std::size_t levels_size);

}  // namespace nnrcore
