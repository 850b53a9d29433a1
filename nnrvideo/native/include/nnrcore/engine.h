// SPDX-License-Identifier: Apache-2.0
// The arithmetic engines (spec/nnc.md §7). Both have the same methods: each takes the value to code
// and returns the value coded, so that a payload's syntax is written once for both directions.
// They are small and copyable on purpose: a hot loop works on a local copy kept in registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include "nnrcore/contexts.h"
#include "nnrcore/errors.h"
#include "nnrcore/tables.h"

namespace nnrcore {

// Start of a block row inside a codeword (§10).
struct EntryPoint {
    std::uint32_t cabac_offset;
    std::uint32_t dq_state;
    std::int64_t bit_offset;
};

// Shift that brings a range of 1...511 back to nine bits.
inline int renormalisation(std::uint32_t range) {
#if defined(_MSC_VER)
    unsigned long highest;
    _BitScanReverse(&highest, range);
    return 8 - static_cast<int>(highest);
#else
    return __builtin_clz(range) - 23;
#endif
}

inline std::uint32_t less_probable_width(std::uint64_t lps_row, std::uint32_t range) {
    return static_cast<std::uint32_t>(lps_row >> (range >> 2 & 0x38)) & 0xff;
}

// Reads bins. The offset V is kept with `spare_` further bits below it, so that renormalising is a
// subtraction. Bits beyond the end read as 0; check_position() and terminate() report them.
class DecodingEngine {
public:
    using ContextType = Context;
    static constexpr bool kDecodes = true;

    DecodingEngine(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {
        refill();
        spare_ -= kValueBits;
        if (offset() >= range_) {
            throw bitstream_error(Fault::syntax, "no codeword starts with eight 1 bits", 0, nullptr,
                                  "§7");
        }
    }

    // Stands behind the entry into a block row: `position` bits are consumed, the offset is known.
    DecodingEngine(const std::uint8_t* data, std::size_t size, std::int64_t position,
                   std::uint32_t offset)
        : data_(data),
          size_(size),
          loaded_(static_cast<std::size_t>(position / 8)),
          value_(offset),
          range_(kRangeAtEntryPoint) {
        refill();
        const int taken = static_cast<int>(position % 8);
        const std::uint64_t fresh = value_ & ((std::uint64_t{1} << (32 - taken)) - 1);
        value_ = static_cast<std::uint64_t>(offset) << (32 - taken) | fresh;
        spare_ -= taken;
    }

    unsigned context_bin(Context& context, unsigned) {
        const std::uint32_t lps = less_probable_width(context.lps_row(), range_);
        const std::uint32_t mps_range = range_ - lps;
        const std::uint64_t scaled = static_cast<std::uint64_t>(mps_range) << spare_;
        unsigned bin = context.more_probable();
        int count;
        if (value_ < scaled) {
            count = static_cast<int>(mps_range >> 8 ^ 1);
            range_ = mps_range << count;
        } else {
            value_ -= scaled;
            count = renormalisation(lps);
            range_ = lps << count;
            bin ^= 1;
        }
        consume(count);
        context.adapt(bin);
        return bin;
    }

    std::uint32_t bypass_bits(int count, std::uint32_t) {
        std::uint32_t value = 0;
        for (; count > 0; --count) {
            consume(1);
            const std::uint64_t scaled = static_cast<std::uint64_t>(range_) << spare_;
            const bool bin = value_ >= scaled;
            value_ -= bin ? scaled : 0;
            value = value << 1 | static_cast<std::uint32_t>(bin);
        }
        return value;
    }

    // Returns the offset at the start of a block row, where the range is set to 256.
    std::uint32_t enter_block_row() {
        range_ = kRangeAtEntryPoint;
        if (offset() >= range_) {
            throw bitstream_error(Fault::syntax,
                                  "the arithmetic offset does not fit the range of a block row",
                                  position(), "cabac_offset", "§10");
        }
        return offset();
    }

    // A legal codeword's last consumed bit is its stop bit: being past the end is final.
    void check_position() const {
        if (position() > 8 * static_cast<std::int64_t>(size_)) {
            throw bitstream_error(Fault::truncated, "the codeword ends inside a tensor", position());
        }
    }

    // Reads the terminating bin and the stop pattern; returns the codeword's size in bytes.
    std::size_t terminate() {
        range_ -= 2;
        const std::int64_t position = this->position();
        if (offset() < range_) {
            throw bitstream_error(Fault::syntax, "the codeword goes on after its last tensor",
                                  position, nullptr, "§7");
        }
        if (position > 8 * static_cast<std::int64_t>(size_)) {
            throw bitstream_error(Fault::truncated, "the codeword ends before its stop bit",
                                  position);
        }
        const auto bytes = static_cast<std::size_t>((position + 7) / 8);
        const int trailing = static_cast<int>(8 * static_cast<std::int64_t>(bytes) - position);
        if ((data_[bytes - 1] & ((2u << trailing) - 1)) != 1u << trailing) {
            throw bitstream_error(Fault::syntax, "wrong stop pattern after a codeword", position,
                                  nullptr, "§7");
        }
        return bytes;
    }

    std::int64_t position() const { return 8 * static_cast<std::int64_t>(loaded_) - spare_; }
    std::uint32_t range() const { return range_; }
    std::uint32_t offset() const { return static_cast<std::uint32_t>(value_ >> spare_); }
    std::int64_t bit_position() const { return position(); }

private:
    // Each bin takes at most seven bits, so eight spare ones always suffice for the next.
    void consume(int count) {
        spare_ -= count;
        if (spare_ < 8) refill();
    }

    void refill() {
        std::uint32_t word = 0;
        if (loaded_ < size_ && size_ - loaded_ >= 4) {
            const std::uint8_t* p = data_ + loaded_;
            word = static_cast<std::uint32_t>(p[0]) << 24 | static_cast<std::uint32_t>(p[1]) << 16 |
                   static_cast<std::uint32_t>(p[2]) << 8 | p[3];
        } else {
            for (std::size_t i = loaded_; i < loaded_ + 4; ++i) {
                word = word << 8 | (i < size_ ? data_[i] : 0u);
            }
        }
        loaded_ += 4;
        value_ = value_ << 32 | word;
        spare_ += 32;
    }

    const std::uint8_t* data_;
    std::size_t size_;
    std::size_t loaded_ = 0;
    std::uint64_t value_ = 0;
    int spare_ = 0;
    std::uint32_t range_ = kRangeStart;
};

// Writes bins. `low_` keeps the bits not yet moved to the output, with at most one carry above
// them; a carry is propagated into the bytes already there.
class EncodingEngine {
public:
    using ContextType = Context;
    static constexpr bool kDecodes = false;

    explicit EncodingEngine(std::vector<std::uint8_t>& output) : output_(&output) {}

    unsigned context_bin(Context& context, unsigned bin) {
        const std::uint32_t lps = less_probable_width(context.lps_row(), range_);
        const std::uint32_t mps_range = range_ - lps;
        const bool less_probable = bin != context.more_probable();
        low_ += less_probable ? mps_range : 0;
        const std::uint32_t range = less_probable ? lps : mps_range;
        const int count = renormalisation(range);
        range_ = range << count;
        low_ <<= count;
        account(count);
        context.adapt(bin);
        return bin;
    }

    std::uint32_t bypass_bits(int count, std::uint32_t value) {
        while (count > 0) {
            --count;
            low_ = (low_ << 1) + (value >> count & 1 ? range_ : 0);
            account(1);  // only now is the interval below 512 again and a carry at most 1
        }
        return value;
    }

    std::uint32_t enter_block_row() {
        range_ = kRangeAtEntryPoint;
        return low_bits();
    }

    void check_position() const {}

    void terminate() {
        range_ -= 2;
        low_ += range_;
        low_ |= 1;
        flush();  // makes room: fewer than eight bits stay beside the register's nine
        const int padding = (8 - (pending_ + kValueBits) % 8) % 8;
        low_ <<= padding + kValueBits;
        pending_ += kValueBits + padding;
        flush();
    }

    std::int64_t position() const { return kValueBits + shifted_; }
    std::uint32_t range() const { return range_; }
    std::uint32_t low_bits() const { return static_cast<std::uint32_t>(low_ & 511); }
    std::int64_t bit_position() const { return position(); }

private:
    void account(int count) {
        shifted_ += count;
        pending_ += count;
        if (pending_ >= 32) flush();
    }

    void flush() {
        const int whole_bits = pending_ & ~7;
        const int kept = pending_ - whole_bits + kValueBits;
        append(*output_, low_ >> kept, whole_bits);
        low_ &= (std::uint64_t{1} << kept) - 1;
        pending_ -= whole_bits;
    }

    static void append(std::vector<std::uint8_t>& output, std::uint64_t settled, int bits) {
        if (settled >> bits & 1) {
            std::size_t last = output.size();
            while (last > 0 && ++output[last - 1] == 0) --last;
        }
        for (int shift = bits - 8; shift >= 0; shift -= 8) {
            output.push_back(static_cast<std::uint8_t>(settled >> shift));
        }
    }

    std::vector<std::uint8_t>* output_;
    std::uint64_t low_ = 0;
    std::int64_t shifted_ = 0;
    int pending_ = 0;
    std::uint32_t range_ = kRangeStart;
};

}  // namespace nnrcore
