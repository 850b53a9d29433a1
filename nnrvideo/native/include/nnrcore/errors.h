// SPDX-License-Identifier: Apache-2.0
// The two exceptions the core throws (besides std::bad_alloc).
#pragma once

#include <cstdint>
#include <stdexcept>

namespace nnrcore {

enum class Fault { syntax, truncated };

// The bins of a codeword break the syntax, or end too early.
class bitstream_error : public std::runtime_error {
public:
    bitstream_error(Fault fault, const char* message, std::int64_t bit,
                    const char* element = nullptr, const char* clause = nullptr)
        : std::runtime_error(message), fault(fault), bit(bit), element(element), clause(clause) {}

    Fault fault;
    std::int64_t bit;     // bits consumed since the start of the codeword
    const char* element;  // syntax element, or null; static storage
    const char* clause;   // clause of the specification, or null; static storage
};

// The caller asked for something that cannot be done; never caused by a bitstream.
class argument_error : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

}  // namespace nnrcore
