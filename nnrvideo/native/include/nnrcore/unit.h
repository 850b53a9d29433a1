// SPDX-License-Identifier: Apache-2.0
// Headers of plain compressed data units (spec/nnc.md §3, §5): the units that nearly all of a
// network consists of. Whatever is rare or wrong is left to the Python parser, which knows all of
// the syntax and says what is wrong; this one only reads what it understands to the end.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace nnrcore {

// Bounds of a receiver, and what the units before decide.
struct PlainUnitRules {
    int general_profile_idc = 1;
    bool mps_parent_signalling_enabled_flag = false;
    std::int64_t max_string_bytes = 0;
    std::int64_t max_tensors = 0;
    std::int64_t max_dimensions = 0;
    std::int64_t max_elements = 0;
};

struct PlainUnit {
    struct Text {
        std::size_t first;  // byte of the unit
        std::size_t size;   // without the zero byte; not checked to be UTF-8
    };
    bool nnr_unit_size_flag = false;
    bool independently_decodable_flag = false;
    unsigned payload_type = 0;
    bool multiple = false;
    std::vector<Text> ids;
    bool node_id_present_flag = false;
    std::array<std::uint32_t, 3> node{};  // device_id, parameter_id, put_node_depth
    bool dq_flag = false;
    int nnr_decompressed_data_format = -1;  // -1: absent
    unsigned compressed_parameter_types = 0;
    std::vector<std::uint32_t> tensor_dimensions;
    int cabac_unary_length_minus1 = -1;  // -1: absent
    std::size_t payload_offset = 0;
};

// Reads the header of a whole unit of `size` bytes. Returns nothing unless the unit is an NNR_NDU
// within the bounds, whose header has no partial data counter, parent, codebook, decomposition,
// dimension shift or block scan, names its ids as text and gives its dimensions.
std::optional<PlainUnit> parse_plain_unit(const std::uint8_t* data, std::size_t size,
                                          const PlainUnitRules& rules);

}  // namespace nnrcore
