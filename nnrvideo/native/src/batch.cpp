// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/batch.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <limits>
#include <numeric>
#include <system_error>
#include <thread>

#include "nnrcore/errors.h"

namespace nnrcore {
namespace {

constexpr int kMaxQpDensity = 7;
constexpr int kMaxStepExponent = 120;  // beyond it a step may leave float32

TensorSpec spec_of(const BatchCodeword& codeword, const BatchTensor& tensor) {
    TensorSpec spec;
    spec.rows = tensor.rows;
    spec.cols = tensor.cols;
    spec.general_profile_idc = codeword.general_profile_idc;
    spec.unary_length = codeword.unary_length;
    spec.dq_flag = codeword.dq_flag;
    spec.nncodec1 = codeword.nncodec1;
    return spec;
}

// One rounding of level times step each; false if a product leaves float32.
bool dequantise(const std::int32_t* levels, float* values, std::size_t count, int qp,
                int qp_density) {
    const int exponent = qp >> qp_density;
    if (std::abs(exponent) > kMaxStepExponent) return false;
    const int fraction = qp & ((1 << qp_density) - 1);
    const double step = std::ldexp((1 << qp_density) + fraction, exponent - qp_density);
    const auto narrow = static_cast<float>(step);
    const auto largest = static_cast<double>(std::numeric_limits<float>::max());
    if (step * static_cast<double>(kMaxLevel) > largest) {
        for (std::size_t n = 0; n < count; ++n) {
            if (std::fabs(static_cast<double>(levels[n])) * step > largest) return false;
        }
    }
    for (std::size_t n = 0; n < count; ++n) values[n] = static_cast<float>(levels[n]) * narrow;
    return true;
}

void decode(BatchCodeword& codeword, Span<std::int32_t> levels, Span<float> values) {
    Decoder decoder(codeword.data, codeword.size);
    for (BatchTensor& tensor : codeword.tensors) {
        const TensorSpec spec = spec_of(codeword, tensor);
        const std::size_t count = spec.elements();
        if (codeword.quantised) {
            tensor.qp_delta = static_cast<int>(decoder.iae(6 + codeword.qp_density));
        }
        tensor.row_skip_flags.resize(static_cast<std::size_t>(tensor.rows));
        tensor.init_indices.resize(max_init_indices(codeword.unary_length));
        std::int32_t* const own = levels.data + tensor.first;
        const TensorResult result = decoder.tensor(
            spec, {{own, count},
                   {tensor.row_skip_flags.data(), tensor.row_skip_flags.size()},
                   {tensor.init_indices.data(), tensor.init_indices.size()}});
        tensor.row_skip_enabled_flag = result.row_skip_enabled_flag;
        tensor.init_indices.resize(result.init_count);
        const int qp = codeword.quantization_parameter + tensor.qp_delta;
        if (codeword.quantised &&
            !dequantise(own, values.data + tensor.first, count, qp, codeword.qp_density)) {
            return;
        }
    }
    codeword.whole = decoder.terminate() == codeword.size;
}

}  // namespace

void decode_batch(std::vector<BatchCodeword>& codewords, Span<std::int32_t> levels,
                  Span<float> values, int threads) {
    if (values.size != levels.size) throw argument_error("values do not have the levels' size");
    for (const BatchCodeword& codeword : codewords) {
        if (codeword.qp_density < 0 || codeword.qp_density > kMaxQpDensity) {
            throw argument_error("qp_density is out of range");
        }
        for (const BatchTensor& tensor : codeword.tensors) {
            const TensorSpec spec = spec_of(codeword, tensor);
            spec.validate();
            if (tensor.first > levels.size || spec.elements() > levels.size - tensor.first) {
                throw argument_error("a tensor is outside the buffers");
            }
        }
    }
    // The longest first, or one thread may end with it alone.
    std::vector<std::size_t> order(codewords.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    if (threads > 1) {
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return codewords[a].size > codewords[b].size;
        });
    }
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
        for (std::size_t n = next++; n < order.size(); n = next++) {
            try {
                decode(codewords[order[n]], levels, values);
            } catch (const std::exception&) {
                // Not whole: whoever wants to know why decodes it by itself.
            }
        }
    };
    std::vector<std::thread> running;
    try {
        for (int n = 1; n < threads; ++n) running.emplace_back(work);
    } catch (const std::system_error&) {
        // No more threads to be had: those that run do all the work.
    }
    work();
    for (std::thread& each : running) each.join();
}

}  // namespace nnrcore
