// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include "nnrcore/errors.h"
#include "nnrcore/tensor.h"

namespace nnrcore {
namespace {

void require(bool condition, const char* message) {
    if (!condition) throw argument_error(message);
}

}  // namespace

void TensorSpec::validate() const {
    require(rows >= 0 && rows <= kMaxLevel && cols >= 0 && cols <= kMaxLevel,
            "rows or cols is out of range");
    // Below 2^31 each, so the product fits 64 bits; the bytes it stands for must fit memory.
    require(static_cast<std::uint64_t>(rows * cols) <=
                std::numeric_limits<std::size_t>::max() / (2 * sizeof(std::int32_t)),
            "the tensor does not fit memory");
    require(general_profile_idc == 0 || general_profile_idc == 1,
            "general_profile_idc is not 0 or 1");
    require(unary_length >= 1 && unary_length <= kMaxUnaryLength, "unary_length is out of range");
    require(scan_order >= 0 && scan_order <= kMaxScanOrder, "scan_order is out of range");
    require(codebook_size >= 0 && codebook_size <= kMaxLevel, "codebook_size is out of range");
    require(codebook_size == 0 ||
                (codebook_zero_offset >= 0 && codebook_zero_offset < codebook_size),
            "codebook_zero_offset is outside the codebook");
    require(general_profile_idc == 1 || !parent_node_id_present_flag,
            "a first-edition unit has no parent");
    require(general_profile_idc == 0 || !nncodec1,
            "NNCodec 1.x writes first-edition streams only");
    require(!temporal() || parent_node_id_present_flag,
            "temporal context adaptation needs a parent node");
    require(reference.data == nullptr || reference.size == elements(),
            "reference does not have the tensor's size");
    require(history.data == nullptr || history.size == elements(),
            "history does not have the tensor's size");
}

std::size_t max_init_indices(int unary_length) {
    return 24 + 16 + 8 + 3 + 2 + 4 * static_cast<std::size_t>(unary_length) +
           kRemainderContextsNncodec1;
}

}  // namespace nnrcore
