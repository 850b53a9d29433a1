// SPDX-License-Identifier: Apache-2.0
// Block rows side by side (spec/nnc.md §10).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nnrcore/contexts.h"
#include "nnrcore/engine.h"
#include "nnrcore/tensor.h"

namespace nnrcore::detail {

// Decodes the values of a tensor with several threads, each from an entry point. What one thread
// finds at its end must be what the next one began with; then, from the first block row on, all
// have decoded what a single thread would have.
//   engine, bank  behind the tensor's head; behind the tensor afterwards
// Returns false, with engine and bank as they were, if the points do not lead through the tensor;
// some levels may have been written.
bool decode_block_rows(const std::uint8_t* data, std::size_t size, const TensorSpec& spec,
                       const TensorBuffers& buffers, const TensorResult& head,
                       const std::vector<EntryPoint>& points, int threads, DecodingEngine& engine,
                       ContextBank<Context>& bank);

}  // namespace nnrcore::detail
