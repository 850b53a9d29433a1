// SPDX-License-Identifier: Apache-2.0
#include "parallel.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include "nnrcore/errors.h"
#include "payload.h"

namespace nnrcore::detail {
namespace {

// Block rows of one thread: those from `first` up to `end`.
struct Part {
    std::size_t first;
    std::size_t end;
    DecodingEngine engine;
    ContextBank<Context> bank;
    bool whole = false;  // decoded, and led to the next part
};

bool same(const EntryPoint& a, const EntryPoint& b) {
    return a.cabac_offset == b.cabac_offset && a.dq_state == b.dq_state &&
           a.bit_offset == b.bit_offset;
}

void decode(Part& part, const TensorSpec& spec, const TensorBuffers& buffers,
            const TensorResult& head, const std::vector<EntryPoint>& points) {
    try {
        std::vector<BlockRowStart> starts;
        TensorPayload<DecodingEngine> payload(part.engine, spec, part.bank, starts);
        const std::int64_t block = spec.block_size();
        BlockRows rows;
        rows.top = static_cast<std::int64_t>(part.first) * block;
        rows.bottom = std::min(static_cast<std::int64_t>(part.end) * block, spec.rows);
        rows.placed = part.first > 0;
        if (part.first > 0) rows.state = points[part.first - 1].dq_state;
        const unsigned state = payload.code_rows({}, {}, buffers, head, rows);
        for (std::size_t n = 0; n < starts.size(); ++n) {
            if (!same(starts[n].point, points[part.first + n])) return;
        }
        if (part.end <= points.size()) {
            const std::uint32_t offset = part.engine.enter_block_row();
            const std::int64_t bits = part.engine.position() - payload.row_start();
            if (!same({offset, state, bits}, points[part.end - 1])) return;
        }
        part.whole = true;
    } catch (const bitstream_error&) {
        // The one thread that decodes it all again will say what is wrong.
    }
}

}  // namespace

bool decode_block_rows(const std::uint8_t* data, std::size_t size, const TensorSpec& spec,
                       const TensorBuffers& buffers, const TensorResult& head,
                       const std::vector<EntryPoint>& points, int threads, DecodingEngine& engine,
                       ContextBank<Context>& bank) {
    const std::int64_t block = spec.block_size();
    if (block == 0 || spec.cols == 0 || points.empty()) return false;
    const auto block_rows = static_cast<std::size_t>((spec.rows + block - 1) / block);
    if (points.size() + 1 != block_rows) return false;

    const auto last_bit = 8 * static_cast<std::int64_t>(size);
    std::vector<std::int64_t> positions{engine.position()};
    for (const EntryPoint& point : points) {
        const bool inside = point.bit_offset >= 0 && point.bit_offset <= last_bit;
        if (!inside || point.cabac_offset >= kRangeAtEntryPoint || point.dq_state > 7) return false;
        positions.push_back(positions.back() + point.bit_offset);
        if (positions.back() > last_bit) return false;
    }

    // Parts of about the same number of bits.
    std::vector<Part> parts;
    std::size_t first = 0;
    for (int n = 1; n <= threads && first < block_rows; ++n) {
        std::size_t end = block_rows;
        if (n < threads) {
            const std::int64_t bits = last_bit - positions[0];
            const std::int64_t wanted = positions[0] + bits / threads * n;
            end = static_cast<std::size_t>(
                std::lower_bound(positions.begin(), positions.end(), wanted) - positions.begin());
        }
        if (end <= first) continue;
        const DecodingEngine start =
            first == 0 ? engine
                       : DecodingEngine(data, size, positions[first],
                                        points[first - 1].cabac_offset);
        parts.push_back({first, end, start, bank});
        first = end;
    }
    if (parts.size() < 2) return false;

    std::vector<std::thread> running;
    try {
        for (std::size_t n = 1; n < parts.size(); ++n) {
            running.emplace_back([&, n] { decode(parts[n], spec, buffers, head, points); });
        }
    } catch (const std::system_error&) {
        // No more threads to be had: what was not begun is not whole.
    }
    decode(parts[0], spec, buffers, head, points);
    for (std::thread& each : running) each.join();
    if (!std::all_of(parts.begin(), parts.end(), [](const Part& part) { return part.whole; })) {
        return false;
    }
    engine = parts.back().engine;
    bank = parts.back().bank;
    return true;
}

}  // namespace nnrcore::detail
