// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/errors.h"
#include "nnrcore/tensor.h"
#include "checks.h"
#include "payload.h"

namespace nnrcore {
namespace {

// Nine bits of the codeword that end at bit `position`; zeros beyond its end.
std::uint32_t register_at(const std::vector<std::uint8_t>& codeword, std::int64_t position) {
    std::uint32_t bits = 0;
    for (std::int64_t bit = position - kValueBits; bit < position; ++bit) {
        const auto byte = static_cast<std::size_t>(bit / 8);
        const unsigned value = byte < codeword.size() ? codeword[byte] >> (7 - bit % 8) & 1u : 0u;
        bits = bits << 1 | value;
    }
    return bits;
}

}  // namespace

Encoder::Encoder() : engine_(output_), bank_(1) {}

void Encoder::require_running() const {
    if (finished_) throw argument_error("the codeword has been terminated");
}

void Encoder::uae(std::uint32_t value, int count) {
    if (count < 0 || count > kMaxBypassBits || static_cast<std::uint64_t>(value) >> count != 0) {
        throw argument_error("a number does not fit its bypass bins");
    }
    require_running();
    engine_.bypass_bits(count, value);
}

void Encoder::iae(std::int64_t value, int count) {
    if (count < 1 || count > kMaxBypassBits || value < -(std::int64_t{1} << (count - 1)) ||
        value >= std::int64_t{1} << (count - 1)) {
        throw argument_error("a number does not fit its bypass bins");
    }
    const std::uint64_t mask = (std::uint64_t{1} << count) - 1;
    uae(static_cast<std::uint32_t>(static_cast<std::uint64_t>(value) & mask), count);
}

void Encoder::tensor(const TensorSpec& spec, Span<const std::int32_t> levels,
                     const TensorChoices& choices) {
    require_running();
    detail::check_encodable(spec, levels, choices);
    bank_ = ContextBank<Context>(spec.unary_length);
    std::vector<detail::BlockRowStart> starts;
    detail::TensorPayload<EncodingEngine> payload(engine_, spec, bank_, starts);
    payload.code(levels, choices, {});
    std::vector<Mark> marks;
    for (const auto& start : starts) marks.push_back({start.position, start.point});
    marks_.push_back(std::move(marks));
}

const std::vector<std::uint8_t>& Encoder::terminate() {
    require_running();
    finished_ = true;
    engine_.terminate();
    return output_;
}

// A decoder's offset is the codeword's bits less the encoder's low, both in nine bits.
std::vector<std::vector<EntryPoint>> Encoder::entry_points() const {
    if (!finished_) throw argument_error("entry points are known only after the codeword's end");
    std::vector<std::vector<EntryPoint>> all;
    for (const auto& marks : marks_) {
        std::vector<EntryPoint> points;
        for (const Mark& mark : marks) {
            EntryPoint point = mark.point;
            point.cabac_offset =
                (register_at(output_, mark.position) - mark.point.cabac_offset) & 511u;
            points.push_back(point);
        }
        all.push_back(std::move(points));
    }
    return all;
}

CoderState Encoder::state() const {
    return {engine_.range(), engine_.low_bits(), engine_.position()};
}

void Encoder::reset_contexts(int unary_length) {
    if (unary_length < 1 || unary_length > kMaxUnaryLength) {
        throw argument_error("unary_length is out of range");
    }
    bank_ = ContextBank<Context>(unary_length);
}

void Encoder::initialise_context(std::size_t slot, int index) {
    if (slot >= bank_.all().size() || index < 0 || index >= kInitIndices) {
        throw argument_error("no such context or initialisation index");
    }
    bank_.all()[slot].initialise(index);
}

void Encoder::ae(unsigned bin, std::size_t slot) {
    require_running();
    if (slot >= bank_.all().size() || bin > 1) throw argument_error("no such context or bin");
    engine_.context_bin(bank_.all()[slot], bin);
}

}  // namespace nnrcore
