// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: choices read from bytes, tensor specifications among them. The layout
// is fixed and short so that a mutated byte changes one choice and leaves the others alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "nnrcore/errors.h"
#include "nnrcore/tensor.h"

namespace fuzz {

// A broken promise of the core. Stopping here is what a fuzzer takes for a finding.
inline void promise(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "BROKEN PROMISE: %s\n", what);
    std::abort();
}

// Bytes as choices; beyond the end everything is 0, the most harmless choice.
class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

    std::uint8_t byte() {
        if (size_ == 0) return 0;
        --size_;
        return *data_++;
    }
    std::uint32_t word() {
        std::uint32_t value = 0;
        for (int i = 0; i < 4; ++i) value = value << 8 | byte();
        return value;
    }
    int below(int count) { return byte() % count; }
    bool flag() { return byte() & 1; }
    std::size_t left() const { return size_; }
    // The rest in memory of its own, so that reading beyond it is noticed.
    std::vector<std::uint8_t> rest() const { return {data_, data_ + size_}; }

private:
    const std::uint8_t* data_;
    std::size_t size_;
};

// xorshift: fills large arrays from one byte.
class Noise {
public:
    explicit Noise(std::uint32_t seed) : state_(seed * 2654435761u + 1) {}
    std::uint32_t next() {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 17;
        return state_ ^= state_ << 5;
    }

private:
    std::uint32_t state_;
};

template <class T>
nnrcore::Span<T> view(std::vector<T>& items) {
    // An empty vector has no address, but being there still means something.
    static T nothing{};
    return {items.empty() ? &nothing : items.data(), items.size()};
}

template <class T>
nnrcore::Span<const T> view(const std::vector<T>& items) {
    static const T nothing{};
    return {items.empty() ? &nothing : items.data(), items.size()};
}

// A specification with the arrays it points into; not to be copied once drawn.
struct Tensor {
    Tensor() = default;
    Tensor(const Tensor&) = delete;
    Tensor& operator=(const Tensor&) = delete;
    Tensor(Tensor&&) = default;  // a moved vector keeps its address

    nnrcore::TensorSpec spec;
    std::vector<std::int32_t> reference;
    std::vector<std::uint8_t> history;
};

constexpr int kMaxSide = 80;  // more than one block row of every block size but the largest
constexpr std::size_t kMaxElements = 1200;

// Draws any specification, most of them legal. Returns false if it is refused, or too large to
// allocate for; what is drawn needs ten bytes.
inline bool draw(Input& input, Tensor& tensor) {
    nnrcore::TensorSpec& spec = tensor.spec;
    const std::uint8_t flags = input.byte();
    const std::uint8_t shape = input.byte();
    spec.rows = input.below(kMaxSide + 1);
    spec.cols = input.below(kMaxSide + 1);
    spec.scan_order = shape % 5;
    if (shape >> 5 == 1) spec.rows = 1, spec.cols *= 16;
    if (shape >> 5 == 2) spec.cols = 1, spec.rows *= 16;
    if (shape >> 5 == 3) spec.rows -= 8, spec.cols <<= 26;  // below 0, and around 2^31
    const int unary = input.byte();
    spec.unary_length = unary < 240 ? 1 + unary % 24 : 16 * (unary - 239);
    spec.general_profile_idc = flags & 1;
    spec.dq_flag = flags & 2;
    spec.parent_node_id_present_flag = flags & 4;
    spec.nncodec1 = (flags & 8) && !(flags & 1);
    const int size = input.byte();
    const int zero = input.byte();
    if (flags & 16) {
        spec.codebook_size = size < 250 ? size : std::int64_t{1} << (size - 225);
        spec.codebook_zero_offset = zero < 250 ? zero % std::max(size, 1) : spec.codebook_size - 1;
    }
    Noise noise(input.byte());
    const int spread = 1 + input.byte();
    // Without the arrays first: it is their size that may be out of range.
    try {
        spec.validate();
    } catch (const nnrcore::argument_error&) {
        return false;
    }
    if (spec.elements() > kMaxElements) return false;
    if ((flags & 32) && spec.parent_node_id_present_flag) {
        tensor.reference.resize(spec.elements());
        for (auto& level : tensor.reference) {
            const std::uint32_t value = noise.next();
            level = value % 31 == 0 ? static_cast<std::int32_t>(value)
                                    : static_cast<int>(value >> 8) % spread - spread / 2;
        }
        spec.reference = view(std::as_const(tensor.reference));
    }
    if (flags & 64) {
        tensor.history.resize(spec.elements());
        for (auto& mark : tensor.history) mark = noise.next() >> 8 & 1;
        spec.history = view(std::as_const(tensor.history));
    }
    spec.validate();
    return true;
}

// What a decoder found, in buffers of exactly the size that it asks for.
struct Found {
    explicit Found(const nnrcore::TensorSpec& spec)
        : levels(spec.elements(), -1),
          skipped(static_cast<std::size_t>(spec.rows), 2),
          indices(nnrcore::max_init_indices(spec.unary_length), 255) {}

    void read(nnrcore::Decoder& decoder, const nnrcore::TensorSpec& spec) {
        result = decoder.tensor(spec, {view(levels), view(skipped), view(indices)});
        indices.resize(result.init_count);
        points = decoder.entry_points();
    }
    nnrcore::TensorChoices choices() const {
        nnrcore::TensorChoices made;
        made.init_indices = {indices.data(), indices.size()};
        if (result.row_skip_enabled_flag) made.row_skip_flags = view(skipped);
        made.hist_dep_sig_prob_enabled_flag = result.hist_dep_sig_prob_enabled_flag;
        return made;
    }

    std::vector<std::int32_t> levels;
    std::vector<std::uint8_t> skipped;
    std::vector<std::uint8_t> indices;
    std::vector<nnrcore::EntryPoint> points;
    nnrcore::TensorResult result;
};

inline bool same(const std::vector<nnrcore::EntryPoint>& one,
                 const std::vector<nnrcore::EntryPoint>& other) {
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [](const nnrcore::EntryPoint& a, const nnrcore::EntryPoint& b) {
                          return a.cabac_offset == b.cabac_offset && a.dq_state == b.dq_state &&
                                 a.bit_offset == b.bit_offset;
                      });
}

}  // namespace fuzz
