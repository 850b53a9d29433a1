// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/errors.h"
#include "nnrcore/tensor.h"
#include "parallel.h"
#include "payload.h"

namespace nnrcore {

Decoder::Decoder(const std::uint8_t* data, std::size_t size)
    : data_(data), size_(size), engine_(data, size), bank_(1) {}

void Decoder::require_running() const {
    if (finished_) throw argument_error("the codeword has been terminated");
}

std::uint32_t Decoder::uae(int count) {
    if (count < 0 || count > kMaxBypassBits) {
        throw argument_error("a bypass number cannot have that many bits");
    }
    require_running();
    const std::uint32_t value = engine_.bypass_bits(count, 0);
    engine_.check_position();
    return value;
}

std::int64_t Decoder::iae(int count) {
    if (count < 1) throw argument_error("a signed bypass number needs at least one bit");
    const auto value = static_cast<std::int64_t>(uae(count));
    return value >> (count - 1) & 1 ? value - (std::int64_t{1} << count) : value;
}

void Decoder::start(const TensorSpec& spec, const TensorBuffers& buffers) {
    require_running();
    spec.validate();
    if (buffers.levels.size != spec.elements() ||
        buffers.row_skip_flags.size != static_cast<std::size_t>(spec.rows) ||
        buffers.init_indices.size < max_init_indices(spec.unary_length)) {
        throw argument_error("an output buffer does not have the tensor's size");
    }
    bank_ = ContextBank<Context>(spec.unary_length);
    entry_points_.clear();
}

TensorResult Decoder::tensor(const TensorSpec& spec, const TensorBuffers& buffers) {
    return tensor(spec, buffers, {}, 1);
}

TensorResult Decoder::tensor(const TensorSpec& spec, const TensorBuffers& buffers,
                             const std::vector<EntryPoint>& points, int threads) {
    start(spec, buffers);
    std::vector<detail::BlockRowStart> starts;
    detail::TensorPayload<DecodingEngine> payload(engine_, spec, bank_, starts);
    const TensorResult head = payload.code_head({}, buffers);
    if (threads > 1 && detail::decode_block_rows(data_, size_, spec, buffers, head, points, threads,
                                                 engine_, bank_)) {
        entry_points_ = points;
        return head;
    }
    payload.code_rows({}, {}, buffers, head, {0, spec.rows, 0, false});
    for (const auto& start : starts) entry_points_.push_back(start.point);
    return head;
}

std::size_t Decoder::terminate() {
    require_running();
    finished_ = true;
    return engine_.terminate();
}

CoderState Decoder::state() const {
    return {engine_.range(), engine_.offset(), engine_.position()};
}

void Decoder::reset_contexts(int unary_length) {
    if (unary_length < 1 || unary_length > kMaxUnaryLength) {
        throw argument_error("unary_length is out of range");
    }
    bank_ = ContextBank<Context>(unary_length);
}

void Decoder::initialise_context(std::size_t slot, int index) {
    if (slot >= bank_.all().size() || index < 0 || index >= kInitIndices) {
        throw argument_error("no such context or initialisation index");
    }
    bank_.all()[slot].initialise(index);
}

unsigned Decoder::ae(std::size_t slot) {
    require_running();
    if (slot >= bank_.all().size()) throw argument_error("no such context");
    return engine_.context_bin(bank_.all()[slot], 0);
}

}  // namespace nnrcore
