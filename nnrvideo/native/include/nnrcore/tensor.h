// SPDX-License-Identifier: Apache-2.0
// Coders of one arithmetic codeword (spec/nnc.md §7 to §10). Every buffer comes with its length and
// is checked against the tensor's size before anything is read or written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nnrcore/contexts.h"
#include "nnrcore/engine.h"

namespace nnrcore {

constexpr int kMaxUnaryLength = 256;
constexpr int kMaxScanOrder = 4;
constexpr std::int64_t kMaxLevel = 2147483647;
constexpr int kMaxBypassBits = 32;

template <class T>
struct Span {
    T* data = nullptr;
    std::size_t size = 0;
};

// All that one tensor's payload syntax depends on.
struct TensorSpec {
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    int general_profile_idc = 1;
    int unary_length = 10;  // greater-than flags, 1...256
    bool dq_flag = false;
    int scan_order = 0;  // 0 row-major, 1...4 blocks; ignored for a single row or column
    std::int64_t codebook_size = 0;  // 0: no codebook
    std::int64_t codebook_zero_offset = 0;
    bool parent_node_id_present_flag = false;
    Span<const std::int32_t> reference;  // rows * cols levels: temporal context adaptation on
    Span<const std::uint8_t> history;    // rows * cols marks
    bool nncodec1 = false;

    bool temporal() const { return reference.data != nullptr; }
    bool is_matrix() const { return rows > 1 && cols > 1; }
    int block_size() const { return scan_order && is_matrix() ? 4 << scan_order : 0; }
    std::int64_t binarisation_codebook_size() const {
        return general_profile_idc == 1 ? codebook_size : 0;
    }
    int remainder_contexts() const {
        return nncodec1 ? kRemainderContextsNncodec1 : kRemainderContexts;
    }
    bool has_skip_flags() const {
        return general_profile_idc == 1 && is_matrix() && binarisation_codebook_size() != 1;
    }
    std::size_t elements() const { return static_cast<std::size_t>(rows * cols); }

    // Throws argument_error unless every field is in range and every buffer has rows * cols items.
    void validate() const;
};

// What an encoder is free to choose.
struct TensorChoices {
    Span<const std::uint8_t> init_indices;    // one for each signalled context; empty: all 0
    Span<const std::uint8_t> row_skip_flags;  // one for each row; null: row_skip_enabled_flag = 0
    bool hist_dep_sig_prob_enabled_flag = false;
};

// What a decoder found; the arrays are in the buffers it was given.
struct TensorResult {
    bool hist_dep_sig_prob_enabled_flag = false;
    bool row_skip_enabled_flag = false;
    std::size_t init_count = 0;
};

// Where a decoder puts the levels and the choices it finds.
struct TensorBuffers {
    Span<std::int32_t> levels;          // rows * cols
    Span<std::uint8_t> row_skip_flags;  // rows
    Span<std::uint8_t> init_indices;    // max_init_indices(unary_length)
};

// Upper bound of the number of initialisation indices a tensor transmits.
std::size_t max_init_indices(int unary_length);

// Bin-level access and a snapshot, for comparing implementations.
struct CoderState {
    std::uint32_t range;
    std::uint32_t value;
    std::int64_t bits;
};

class Decoder {
public:
    // Keeps the pointer; the bytes must outlive the decoder. Bytes after the codeword are ignored.
    Decoder(const std::uint8_t* data, std::size_t size);

    std::uint32_t uae(int count);
    std::int64_t iae(int count);
    TensorResult tensor(const TensorSpec& spec, const TensorBuffers& buffers);
    // The same, with block rows decoded by several threads from the entry points of the tensor's
    // header. Points that do not lead from each block row to the next are as if not given.
    TensorResult tensor(const TensorSpec& spec, const TensorBuffers& buffers,
                        const std::vector<EntryPoint>& points, int threads);
    std::size_t terminate();

    // Entry points passed in the last tensor.
    const std::vector<EntryPoint>& entry_points() const { return entry_points_; }
    std::int64_t bits_consumed() const { return engine_.position(); }
    CoderState state() const;
    const ContextBank<Context>& contexts() const { return bank_; }

    void reset_contexts(int unary_length);
    void initialise_context(std::size_t slot, int index);
    unsigned ae(std::size_t slot);

private:
    void require_running() const;
    void start(const TensorSpec& spec, const TensorBuffers& buffers);

    const std::uint8_t* data_;
    std::size_t size_;
    DecodingEngine engine_;
    ContextBank<Context> bank_;
    std::vector<EntryPoint> entry_points_;
    bool finished_ = false;
};

class Encoder {
public:
    Encoder();
    Encoder(const Encoder&) = delete;
    Encoder& operator=(const Encoder&) = delete;

    void uae(std::uint32_t value, int count);
    void iae(std::int64_t value, int count);
    // After an exception the codeword is spoilt.
    void tensor(const TensorSpec& spec, Span<const std::int32_t> levels,
                const TensorChoices& choices);
    const std::vector<std::uint8_t>& terminate();

    // Entry points of each tensor in order; complete only after terminate().
    std::vector<std::vector<EntryPoint>> entry_points() const;
    CoderState state() const;
    const ContextBank<Context>& contexts() const { return bank_; }

    void reset_contexts(int unary_length);
    void initialise_context(std::size_t slot, int index);
    void ae(unsigned bin, std::size_t slot);

private:
    struct Mark {
        std::int64_t position;
        EntryPoint point;  // cabac_offset holds the encoder's low until the end is known
    };
    void require_running() const;

    std::vector<std::uint8_t> output_;
    EncodingEngine engine_;
    ContextBank<Context> bank_;
    std::vector<std::vector<Mark>> marks_;
    bool finished_ = false;
};

}  // namespace nnrcore
