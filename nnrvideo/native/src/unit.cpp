// SPDX-License-Identifier: Apache-2.0
#include "nnrcore/unit.h"

#include <algorithm>
#include <cstring>

namespace nnrcore {
namespace {

constexpr unsigned kNdu = 5;
constexpr unsigned kFloat = 1;
constexpr unsigned kRawFloat = 2;
constexpr unsigned kBlock = 3;
constexpr int kLongestPrefix = 24;  // of an Exp-Golomb code; longer ones are rare

// Reads bits; past the end it reads zeros and is no longer whole.
class Bits {
public:
    Bits(const std::uint8_t* data, std::size_t size) : data_(data), end_(8 * size) {}

    std::uint32_t u(int count) {
        std::uint32_t value = 0;
        for (; count > 0; --count) value = value << 1 | bit();
        return value;
    }
    bool flag() { return bit() != 0; }

    std::uint32_t uek(int k) {
        int zeros = 0;
        while (zeros <= kLongestPrefix && !flag()) ++zeros;
        if (zeros > kLongestPrefix) {
            whole_ = false;
            return 0;
        }
        const std::uint64_t base = ((std::uint64_t{1} << zeros) - 1) << k;
        const std::uint64_t value = base + u(zeros + k);
        if (value > UINT32_MAX) whole_ = false;
        return static_cast<std::uint32_t>(value);
    }

    // A zero-terminated text at a byte boundary.
    PlainUnit::Text st(std::int64_t max_bytes) {
        const std::size_t first = at_ / 8;
        const std::size_t left = end_ / 8 - std::min(first, end_ / 8);
        const void* zero = at_ % 8 == 0 && left ? std::memchr(data_ + first, 0, left) : nullptr;
        if (zero == nullptr) {
            whole_ = false;
            return {0, 0};
        }
        const auto size =
            static_cast<std::size_t>(static_cast<const std::uint8_t*>(zero) - data_) - first;
        if (static_cast<std::int64_t>(size) > max_bytes) whole_ = false;
        at_ += 8 * (size + 1);
        return {first, size};
    }

    void align_one() {
        const int count = 8 - static_cast<int>(at_ % 8);
        if (u(count) != 1u << (count - 1)) whole_ = false;
    }

    bool whole() const { return whole_; }
    std::size_t byte() const { return at_ / 8; }

private:
    std::uint32_t bit() {
        if (at_ >= end_) {
            whole_ = false;
            return 0;
        }
        const std::uint32_t value = data_[at_ / 8] >> (7 - at_ % 8) & 1u;
        ++at_;
        return value;
    }

    const std::uint8_t* data_;
    std::size_t end_;
    std::size_t at_ = 0;
    bool whole_ = true;
};

bool parse_ids(Bits& bits, const PlainUnitRules& rules, PlainUnit& unit) {
    std::int64_t count = 1;
    if (unit.multiple) {
        count = std::int64_t{bits.uek(7)} + 2;
        bits.align_one();
    }
    if (count > rules.max_tensors) return false;
    for (; count > 0 && bits.whole(); --count) unit.ids.push_back(bits.st(rules.max_string_bytes));
    return bits.whole();
}

bool parse_dimensions(Bits& bits, const PlainUnitRules& rules, PlainUnit& unit) {
    const std::int64_t count = bits.uek(1);
    if (count == 0 || count > rules.max_dimensions) return false;
    std::int64_t elements = 1;  // a dimension of 0 must not hide the others from the limit
    for (std::int64_t n = 0; n < count && bits.whole(); ++n) {
        const std::uint32_t dimension = bits.uek(7);
        const std::int64_t factor = std::max<std::int64_t>(1, dimension);
        if (elements > rules.max_elements / factor) return false;
        elements *= factor;
        unit.tensor_dimensions.push_back(dimension);
    }
    return bits.whole();
}

}  // namespace

std::optional<PlainUnit> parse_plain_unit(const std::uint8_t* data, std::size_t size,
                                          const PlainUnitRules& rules) {
    Bits bits(data, size);
    PlainUnit unit;
    unit.nnr_unit_size_flag = bits.flag();
    if (bits.u(unit.nnr_unit_size_flag ? 31 : 15) != size || bits.u(6) != kNdu) return {};
    unit.independently_decodable_flag = bits.flag();
    const bool counter = bits.flag();
    unit.payload_type = bits.u(5);
    if (counter || unit.payload_type > kBlock) return {};
    const bool block = unit.payload_type == kBlock;
    unit.multiple = bits.flag();
    const bool has_format = bits.flag();
    const bool has_input = bits.flag();
    if (!has_input || unit.multiple != block || !parse_ids(bits, rules, unit)) return {};
    if (rules.general_profile_idc == 1) {
        unit.node_id_present_flag = bits.flag();
        if (unit.node_id_present_flag) unit.node = {bits.uek(1), bits.uek(5), bits.uek(4)};
        if (rules.mps_parent_signalling_enabled_flag && bits.flag()) return {};
    }
    if ((block || unit.payload_type == kFloat) && bits.flag()) return {};  // a codebook
    if (unit.payload_type != kRawFloat) unit.dq_flag = bits.flag();
    if (has_format) unit.nnr_decompressed_data_format = static_cast<int>(bits.u(7));
    const bool has_dimensions = bits.flag();
    const bool has_unary_length = bits.flag();
    unit.compressed_parameter_types = bits.u(4);
    const bool factors = unit.compressed_parameter_types & 1;
    if (!has_dimensions || factors || !parse_dimensions(bits, rules, unit)) return {};
    if (has_unary_length) unit.cabac_unary_length_minus1 = static_cast<int>(bits.u(8));
    if (unit.tensor_dimensions.size() > 1) {
        if (rules.general_profile_idc == 1 && bits.uek(1) != 0) return {};  // a shift
        if (bits.u(4) != 0) return {};                                      // a block scan
    }
    bits.align_one();
    if (!bits.whole()) return {};
    unit.payload_offset = bits.byte();
    return unit;
}

}  // namespace nnrcore
