// SPDX-License-Identifier: Apache-2.0
// Many small codewords in one call, their values included. A network of hundreds of small tensors
// would otherwise take longer to be asked for than to be decoded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nnrcore/tensor.h"

namespace nnrcore {

// A tensor of a codeword: its size and where its levels and values go.
struct BatchTensor {
    std::int64_t rows;
    std::int64_t cols;
    std::size_t first;
    // Found:
    int qp_delta = 0;
    bool row_skip_enabled_flag = false;
    std::vector<std::uint8_t> row_skip_flags;
    std::vector<std::uint8_t> init_indices;
};

// A codeword without codebook, block scan and parent, and what its tensors depend on.
struct BatchCodeword {
    const std::uint8_t* data;
    std::size_t size;
    int general_profile_idc;
    bool nncodec1;
    int unary_length;
    bool dq_flag;
    bool quantised;  // has QPs and steps; else integers
    int qp_density;
    int quantization_parameter;
    std::vector<BatchTensor> tensors;
    // Found: it was decoded to its very end, and each product of level and step fits float32.
    bool whole = false;
};

// Decodes each codeword with `threads` threads. A codeword that is not whole has no legal result;
// its levels and values mean nothing. Values of integers are not written.
// Throws argument_error, before anything is decoded, if a tensor is outside the buffers.
void decode_batch(std::vector<BatchCodeword>& codewords, Span<std::int32_t> levels,
                  Span<float> values, int threads);

}  // namespace nnrcore
