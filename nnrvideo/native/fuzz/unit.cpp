// SPDX-License-Identifier: Apache-2.0
// Any unit under any rules: what is taken for plain lies inside the unit and inside the bounds.
#include "fuzz.h"
#include "nnrcore/unit.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::uint8_t head = input.byte();
    nnrcore::PlainUnitRules rules;
    rules.general_profile_idc = head & 1;
    rules.mps_parent_signalling_enabled_flag = head & 2;
    rules.max_string_bytes = input.byte();
    rules.max_tensors = input.byte() % 16;
    rules.max_dimensions = input.byte() % 16;
    rules.max_elements = input.word();
    std::vector<std::uint8_t> bytes = input.rest();
    if (!(head & 4) && bytes.size() >= 2) {  // mostly a size that is right
        bytes[0] = static_cast<std::uint8_t>(bytes.size() >> 8 & 0x7f);
        bytes[1] = static_cast<std::uint8_t>(bytes.size());
    }
    const auto unit = nnrcore::parse_plain_unit(bytes.data(), bytes.size(), rules);
    if (!unit) return 0;
    fuzz::promise(unit->payload_offset <= bytes.size(), "the payload is inside the unit");
    fuzz::promise(static_cast<std::int64_t>(unit->ids.size()) <= rules.max_tensors, "few ids");
    fuzz::promise(!unit->ids.empty(), "a unit names its tensors");
    for (const auto& id : unit->ids) {
        fuzz::promise(static_cast<std::int64_t>(id.size) <= rules.max_string_bytes, "short ids");
        fuzz::promise(id.first + id.size < unit->payload_offset, "ids are inside the header");
        fuzz::promise(bytes[id.first + id.size] == 0, "an id ends with a zero byte");
    }
    const auto& dimensions = unit->tensor_dimensions;
    fuzz::promise(!dimensions.empty(), "a tensor has a dimension");
    fuzz::promise(static_cast<std::int64_t>(dimensions.size()) <= rules.max_dimensions,
                  "few dimensions");
    std::int64_t elements = 1;
    for (const std::uint32_t dimension : dimensions) {
        elements *= std::max<std::int64_t>(1, dimension);
        fuzz::promise(elements <= rules.max_elements, "few elements");
    }
    return 0;
}
