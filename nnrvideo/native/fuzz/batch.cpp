// SPDX-License-Identifier: Apache-2.0
// Any codewords in one call: each is decoded or refused as a decoder alone does, whatever is beside
// it, by one thread or by several.
#include <cmath>
#include <optional>

#include "fuzz.h"
#include "nnrcore/batch.h"

namespace {

using Codewords = std::vector<nnrcore::BatchCodeword>;

// Levels and QP deltas of a codeword by a decoder alone; nothing if it is broken.
std::optional<std::vector<std::int32_t>> alone(const nnrcore::BatchCodeword& codeword,
                                               std::vector<int>& deltas) {
    std::vector<std::int32_t> levels;
    try {
        nnrcore::Decoder decoder(codeword.data, codeword.size);
        for (const auto& tensor : codeword.tensors) {
            nnrcore::TensorSpec spec;
            spec.rows = tensor.rows;
            spec.cols = tensor.cols;
            spec.general_profile_idc = codeword.general_profile_idc;
            spec.unary_length = codeword.unary_length;
            spec.dq_flag = codeword.dq_flag;
            spec.nncodec1 = codeword.nncodec1;
            deltas.push_back(
                codeword.quantised ? static_cast<int>(decoder.iae(6 + codeword.qp_density)) : 0);
            fuzz::Found found(spec);
            found.read(decoder, spec);
            levels.insert(levels.end(), found.levels.begin(), found.levels.end());
        }
        if (decoder.terminate() != codeword.size) return {};
    } catch (const nnrcore::bitstream_error&) {
        return {};
    }
    return levels;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::uint8_t head = input.byte();
    Codewords batch;
    std::size_t elements = 0;
    for (int n = 1 + head % 3; n > 0; --n) {
        nnrcore::BatchCodeword codeword{};
        const std::uint8_t flags = input.byte();
        codeword.general_profile_idc = flags & 1;
        codeword.nncodec1 = (flags & 8) && !(flags & 1);
        codeword.dq_flag = flags & 2;
        codeword.quantised = flags & 4;
        codeword.unary_length = 1 + input.below(24);
        codeword.qp_density = input.below(8);
        codeword.quantization_parameter = static_cast<int>(input.below(128)) * 64 - 4096;
        for (int t = 1 + (flags >> 6); t > 0; --t) {
            const int rows = input.below(17);
            const int cols = input.below(17);
            nnrcore::BatchTensor tensor{};
            tensor.rows = rows;
            tensor.cols = cols;
            tensor.first = elements;
            codeword.tensors.push_back(tensor);
            elements += static_cast<std::size_t>(rows * cols);
        }
        batch.push_back(codeword);
    }
    const std::vector<std::uint8_t> bytes = input.rest();
    std::size_t first = 0;
    for (std::size_t n = 0; n < batch.size(); ++n) {  // equal shares
        const std::size_t end = bytes.size() * (n + 1) / batch.size();
        batch[n].data = bytes.data() + first;
        batch[n].size = end - first;
        first = end;
    }
    std::vector<std::int32_t> levels(elements, -1);
    std::vector<float> values(elements, -1.0f);
    nnrcore::decode_batch(batch, fuzz::view(levels), fuzz::view(values), 1 + (head >> 7));
    for (const auto& codeword : batch) {
        std::vector<int> deltas;
        const auto expected = alone(codeword, deltas);
        fuzz::promise(expected.has_value() || !codeword.whole, "what is broken is not whole");
        if (!codeword.whole) {  // broken, or a product leaves float32
            fuzz::promise(!expected || codeword.quantised, "integers need no step");
            continue;
        }
        std::size_t at = 0;
        for (std::size_t t = 0; t < codeword.tensors.size(); ++t) {
            const auto& tensor = codeword.tensors[t];
            fuzz::promise(tensor.qp_delta == deltas[t], "the same qp_delta");
            const auto count = static_cast<std::size_t>(tensor.rows * tensor.cols);
            for (std::size_t n = 0; n < count; ++n, ++at) {
                fuzz::promise(levels[tensor.first + n] == (*expected)[at], "the same levels");
                fuzz::promise(!codeword.quantised || std::isfinite(values[tensor.first + n]),
                              "values are finite");
            }
        }
    }
    return 0;
}
