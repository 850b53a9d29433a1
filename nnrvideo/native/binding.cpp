// SPDX-License-Identifier: Apache-2.0
// The Python face of nnrcore. It owns three duties and no algorithm: every array argument states
// its dtype, rank and layout and is never converted; the interpreter lock is released around loops;
// the core's two exceptions become nnrvideo's.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>

#include "nnrcore/batch.h"
#include "nnrcore/errors.h"
#include "nnrcore/search.h"
#include "nnrcore/tables.h"
#include "nnrcore/tensor.h"
#include "nnrcore/trellis.h"
#include "nnrcore/unit.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

template <class T, std::size_t Rank>
using Array = nb::ndarray<T, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;
using Levels = Array<const std::int32_t, 2>;
using Marks = Array<const std::uint8_t, 2>;
using Bytes = Array<const std::uint8_t, 1>;

template <class T, class... Args>
nnrcore::Span<T> span(const nb::ndarray<T, Args...>& array) {
    return {array.data(), array.size()};
}

// An empty array has no address, but being there still means something.
template <class T, class... Args>
nnrcore::Span<T> present(const nb::ndarray<T, Args...>& array) {
    static T nothing{};
    return {array.size() ? array.data() : &nothing, array.size()};
}

// A tensor's description with the arrays it points into kept alive.
struct Spec {
    std::optional<Levels> reference;
    std::optional<Marks> history;
    nnrcore::TensorSpec core;
};

struct Choices {
    Bytes init_indices;
    std::optional<Bytes> row_skip_flags;
    nnrcore::TensorChoices core;
};

// One thread at a time: the interpreter lock does not protect a coder while it is released.
class Exclusive {
public:
    explicit Exclusive(std::atomic<bool>& busy) : busy_(busy) {
        if (busy_.exchange(true)) throw nnrcore::argument_error("another thread uses this coder");
    }
    ~Exclusive() { busy_ = false; }
    Exclusive(const Exclusive&) = delete;
    Exclusive& operator=(const Exclusive&) = delete;

private:
    std::atomic<bool>& busy_;
};

struct Decoder {
    explicit Decoder(nb::bytes source)
        : data(std::move(source)),
          core(static_cast<const std::uint8_t*>(data.data()), data.size()) {}

    nb::bytes data;
    nnrcore::Decoder core;
    std::atomic<bool> busy{false};
};

struct Encoder {
    nnrcore::Encoder core;
    std::atomic<bool> busy{false};
};

nb::tuple entry_point(const nnrcore::EntryPoint& point) {
    return nb::make_tuple(point.cabac_offset, point.dq_state, point.bit_offset);
}

nb::list entry_points(const std::vector<nnrcore::EntryPoint>& points) {
    nb::list list;
    for (const auto& point : points) list.append(entry_point(point));
    return list;
}

template <class Coder>
nb::tuple state(Coder& self) {
    Exclusive exclusive(self.busy);
    const nnrcore::CoderState state = self.core.state();
    nb::list counters;
    for (const auto& context : self.core.contexts().all()) {
        counters.append(nb::make_tuple(context.a(), context.b()));
    }
    return nb::make_tuple(state.range, state.value, state.bits, counters);
}

nb::tuple decode_tensor(Decoder& self, const Spec& spec, Array<std::int32_t, 2> levels,
                        const std::optional<Array<const std::int64_t, 2>>& points, int threads) {
    Exclusive exclusive(self.busy);
    std::vector<nnrcore::EntryPoint> given;
    if (points) {
        if (points->shape(1) != 3) throw nnrcore::argument_error("an entry point has three numbers");
        for (std::size_t n = 0; n < points->shape(0); ++n) {
            const std::int64_t* point = points->data() + 3 * n;
            given.push_back({static_cast<std::uint32_t>(point[0]),
                             static_cast<std::uint32_t>(point[1]), point[2]});
        }
    }
    std::vector<std::uint8_t> row_skip_flags(static_cast<std::size_t>(spec.core.rows));
    std::vector<std::uint8_t> init_indices(nnrcore::max_init_indices(spec.core.unary_length));
    nnrcore::TensorResult result;
    {
        nb::gil_scoped_release released;
        result = self.core.tensor(spec.core,
                                  {span(levels),
                                   {row_skip_flags.data(), row_skip_flags.size()},
                                   {init_indices.data(), init_indices.size()}},
                                  given, threads);
    }
    nb::object skipped = nb::none();
    if (result.row_skip_enabled_flag) {
        skipped = nb::bytes(row_skip_flags.data(), row_skip_flags.size());
    }
    return nb::make_tuple(result.hist_dep_sig_prob_enabled_flag, skipped,
                          nb::bytes(init_indices.data(), result.init_count),
                          entry_points(self.core.entry_points()));
}

void encode_tensor(Encoder& self, const Spec& spec, const Levels& levels, const Choices& choices) {
    Exclusive exclusive(self.busy);
    nb::gil_scoped_release released;
    self.core.tensor(spec.core, span(levels), choices.core);
}

// For each codeword None, or (qp_delta, row skip flags or None, init indices) of each tensor.
nb::list decode_batch(const nb::list& payloads, const Array<const std::int64_t, 2>& codewords,
                      const Array<const std::int64_t, 2>& tensors, Array<std::int32_t, 1> levels,
                      Array<float, 1> values, int threads) {
    const std::size_t count = nb::len(payloads);
    if (codewords.shape(0) != count || codewords.shape(1) != 7 || tensors.shape(1) != 4) {
        throw nnrcore::argument_error("seven numbers describe a codeword, four a tensor");
    }
    std::vector<nb::bytes> kept;
    std::vector<nnrcore::BatchCodeword> batch;
    for (std::size_t n = 0; n < count; ++n) {
        kept.push_back(nb::cast<nb::bytes>(payloads[n]));
        const std::int64_t* row = codewords.data() + 7 * n;
        batch.push_back({static_cast<const std::uint8_t*>(kept[n].data()), kept[n].size(),
                         static_cast<int>(row[0]), row[1] != 0, static_cast<int>(row[2]),
                         row[3] != 0, row[4] != 0, static_cast<int>(row[5]),
                         static_cast<int>(row[6]), {}});
    }
    for (std::size_t n = 0; n < tensors.shape(0); ++n) {
        const std::int64_t* row = tensors.data() + 4 * n;
        if (row[0] < 0 || row[0] >= static_cast<std::int64_t>(count) || row[3] < 0) {
            throw nnrcore::argument_error("a tensor has no codeword or no place");
        }
        batch[static_cast<std::size_t>(row[0])].tensors.push_back(
            {row[1], row[2], static_cast<std::size_t>(row[3])});
    }
    {
        nb::gil_scoped_release released;
        nnrcore::decode_batch(batch, span(levels), span(values), threads);
    }
    nb::list results;
    for (const nnrcore::BatchCodeword& codeword : batch) {
        if (!codeword.whole) {
            results.append(nb::none());
            continue;
        }
        nb::list found;
        for (const nnrcore::BatchTensor& tensor : codeword.tensors) {
            const auto& rows = tensor.row_skip_flags;
            nb::object skipped = nb::none();
            if (tensor.row_skip_enabled_flag) skipped = nb::bytes(rows.data(), rows.size());
            const auto& indices = tensor.init_indices;
            found.append(nb::make_tuple(tensor.qp_delta, skipped,
                                        nb::bytes(indices.data(), indices.size())));
        }
        results.append(found);
    }
    return results;
}

// Ids, node, dimensions and the rest of a plain unit; None where the header is not plain.
nb::object parse_plain_unit(const nb::bytes& data, int general_profile_idc,
                            bool mps_parent_signalling_enabled_flag,
                            std::int64_t max_string_bytes, std::int64_t max_tensors,
                            std::int64_t max_dimensions, std::int64_t max_elements) {
    const auto* bytes = static_cast<const std::uint8_t*>(data.data());
    const auto unit = nnrcore::parse_plain_unit(
        bytes, data.size(),
        {general_profile_idc, mps_parent_signalling_enabled_flag, max_string_bytes, max_tensors,
         max_dimensions, max_elements});
    if (!unit) return nb::none();
    nb::list ids;
    for (const auto& id : unit->ids) {
        PyObject* text = PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(bytes + id.first),
                                              static_cast<Py_ssize_t>(id.size), nullptr);
        if (text == nullptr) {
            PyErr_Clear();
            return nb::none();
        }
        ids.append(nb::steal(text));
    }
    nb::list dimensions;
    for (const std::uint32_t dimension : unit->tensor_dimensions) dimensions.append(dimension);
    const auto present = [](int value) {
        return value < 0 ? nb::object(nb::none()) : nb::object(nb::int_(value));
    };
    nb::object node = nb::none();
    if (unit->node_id_present_flag) {
        node = nb::make_tuple(unit->node[0], unit->node[1], unit->node[2]);
    }
    return nb::make_tuple(unit->nnr_unit_size_flag, unit->independently_decodable_flag,
                          unit->payload_type, unit->multiple, nb::tuple(ids), node, unit->dq_flag,
                          present(unit->nnr_decompressed_data_format),
                          unit->compressed_parameter_types, nb::tuple(dimensions),
                          present(unit->cabac_unary_length_minus1), unit->payload_offset);
}

// An instance of a frozen dataclass without its __init__, which goes through object.__setattr__ for
// each field and so takes longer than all the rest of parsing a unit.
nb::object frozen(const nb::type_object& type, const nb::tuple& names, const nb::tuple& values) {
    if (nb::len(names) != nb::len(values)) {
        throw nnrcore::argument_error("there is not one value for each field");
    }
    PyObject* made =
        PyType_GenericNew(reinterpret_cast<PyTypeObject*>(type.ptr()), nullptr, nullptr);
    if (made == nullptr) throw nb::python_error();
    nb::object owner = nb::steal(made);
    for (std::size_t n = 0; n < nb::len(names); ++n) {
        if (PyObject_GenericSetAttr(made, names[n].ptr(), values[n].ptr()) != 0) {
            throw nb::python_error();
        }
    }
    return owner;
}

nb::list table(const std::array<std::int32_t, nnrcore::kCostEntries>& entries) {
    nb::list list;
    for (const auto entry : entries) list.append(entry);
    return list;
}

// Raised once per error, so looking the classes up costs nothing that matters.
void translate(const std::exception_ptr& pointer, void*) {
    try {
        std::rethrow_exception(pointer);
    } catch (const nnrcore::bitstream_error& error) {
        nb::object errors = nb::module_::import_("nnrvideo.errors");
        nb::object type = errors.attr(
            error.fault == nnrcore::Fault::truncated ? "TruncatedError" : "BitstreamError");
        const auto text = [](const char* words) {
            return words ? nb::object(nb::str(words)) : nb::none();
        };
        nb::object raised = type(error.what(), "bit"_a = error.bit,
                                 "element"_a = text(error.element), "clause"_a = text(error.clause));
        PyErr_SetObject(type.ptr(), raised.ptr());
    } catch (const nnrcore::argument_error& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    }
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Native core of nnrvideo.entropy; use nnrvideo.entropy, not this module.";
    nb::register_exception_translator(translate);

    nb::class_<Spec>(m, "Spec")
        .def(
            "__init__",
            [](Spec* self, std::int64_t rows, std::int64_t cols, int general_profile_idc,
               int unary_length, bool dq_flag, int scan_order, std::int64_t codebook_size,
               std::int64_t codebook_zero_offset, bool parent_node_id_present_flag,
               std::optional<Levels> reference, std::optional<Marks> history, bool nncodec1) {
                new (self) Spec{std::move(reference), std::move(history), {}};
                nnrcore::TensorSpec& core = self->core;
                core.rows = rows;
                core.cols = cols;
                core.general_profile_idc = general_profile_idc;
                core.unary_length = unary_length;
                core.dq_flag = dq_flag;
                core.scan_order = scan_order;
                core.codebook_size = codebook_size;
                core.codebook_zero_offset = codebook_zero_offset;
                core.parent_node_id_present_flag = parent_node_id_present_flag;
                if (self->reference) core.reference = present(*self->reference);
                if (self->history) core.history = present(*self->history);
                core.nncodec1 = nncodec1;
                core.validate();
            },
            "rows"_a, "cols"_a, "general_profile_idc"_a, "unary_length"_a, "dq_flag"_a,
            "scan_order"_a, "codebook_size"_a, "codebook_zero_offset"_a,
            "parent_node_id_present_flag"_a, nb::arg("reference").noconvert().none(),
            nb::arg("history").noconvert().none(), "nncodec1"_a);

    nb::class_<Choices>(m, "Choices")
        .def(
            "__init__",
            [](Choices* self, Bytes init_indices, std::optional<Bytes> row_skip_flags,
               bool hist_dep_sig_prob_enabled_flag) {
                new (self) Choices{std::move(init_indices), std::move(row_skip_flags), {}};
                self->core.init_indices = span(self->init_indices);
                if (self->row_skip_flags) {
                    self->core.row_skip_flags = present(*self->row_skip_flags);
                }
                self->core.hist_dep_sig_prob_enabled_flag = hist_dep_sig_prob_enabled_flag;
            },
            nb::arg("init_indices").noconvert(), nb::arg("row_skip_flags").noconvert().none(),
            "hist_dep_sig_prob_enabled_flag"_a);

    nb::class_<Decoder>(m, "Decoder")
        .def(nb::init<nb::bytes>(), "data"_a)
        .def("uae", [](Decoder& self, int count) {
            Exclusive exclusive(self.busy);
            return self.core.uae(count);
        }, "count"_a)
        .def("iae", [](Decoder& self, int count) {
            Exclusive exclusive(self.busy);
            return self.core.iae(count);
        }, "count"_a)
        .def("tensor", &decode_tensor, "spec"_a, nb::arg("levels").noconvert(),
             nb::arg("points").noconvert().none(), "threads"_a)
        .def("terminate", [](Decoder& self) {
            Exclusive exclusive(self.busy);
            return self.core.terminate();
        })
        .def("bits_consumed", [](Decoder& self) {
            Exclusive exclusive(self.busy);
            return self.core.bits_consumed();
        })
        .def("state", &state<Decoder>)
        .def("reset_contexts", [](Decoder& self, int unary_length) {
            Exclusive exclusive(self.busy);
            self.core.reset_contexts(unary_length);
        }, "unary_length"_a)
        .def("initialise_context", [](Decoder& self, std::size_t slot, int index) {
            Exclusive exclusive(self.busy);
            self.core.initialise_context(slot, index);
        }, "slot"_a, "index"_a)
        .def("ae", [](Decoder& self, std::size_t slot) {
            Exclusive exclusive(self.busy);
            return self.core.ae(slot);
        }, "slot"_a);

    nb::class_<Encoder>(m, "Encoder")
        .def(nb::init<>())
        .def("uae", [](Encoder& self, std::uint32_t value, int count) {
            Exclusive exclusive(self.busy);
            self.core.uae(value, count);
        }, "value"_a, "count"_a)
        .def("iae", [](Encoder& self, std::int64_t value, int count) {
            Exclusive exclusive(self.busy);
            self.core.iae(value, count);
        }, "value"_a, "count"_a)
        .def("tensor", &encode_tensor, "spec"_a, nb::arg("levels").noconvert(), "choices"_a)
        .def("terminate", [](Encoder& self) {
            Exclusive exclusive(self.busy);
            const auto& codeword = self.core.terminate();
            return nb::bytes(codeword.data(), codeword.size());
        })
        .def("entry_points", [](Encoder& self) {
            Exclusive exclusive(self.busy);
            nb::list tensors;
            for (const auto& points : self.core.entry_points()) tensors.append(entry_points(points));
            return tensors;
        })
        .def("state", &state<Encoder>)
        .def("reset_contexts", [](Encoder& self, int unary_length) {
            Exclusive exclusive(self.busy);
            self.core.reset_contexts(unary_length);
        }, "unary_length"_a)
        .def("initialise_context", [](Encoder& self, std::size_t slot, int index) {
            Exclusive exclusive(self.busy);
            self.core.initialise_context(slot, index);
        }, "slot"_a, "index"_a)
        .def("ae", [](Encoder& self, unsigned bin, std::size_t slot) {
            Exclusive exclusive(self.busy);
            self.core.ae(bin, slot);
        }, "bin"_a, "slot"_a);

    m.def("decode_batch", &decode_batch, "payloads"_a, nb::arg("codewords").noconvert(),
          nb::arg("tensors").noconvert(), nb::arg("levels").noconvert(),
          nb::arg("values").noconvert(), "threads"_a);

    m.def("frozen", &frozen, "type"_a, "names"_a, "values"_a);

    m.def("parse_plain_unit", &parse_plain_unit, "data"_a, "general_profile_idc"_a,
          "mps_parent_signalling_enabled_flag"_a, "max_string_bytes"_a, "max_tensors"_a,
          "max_dimensions"_a, "max_elements"_a);

    m.def("search_init_indices", [](const Spec& spec, const Levels& levels, const Choices& choices,
                                    std::int64_t stride) {
        std::vector<std::uint8_t> indices;
        {
            nb::gil_scoped_release released;
            indices = nnrcore::search_init_indices(spec.core, span(levels), choices.core, stride);
        }
        return nb::bytes(indices.data(), indices.size());
    }, "spec"_a, nb::arg("levels").noconvert(), "choices"_a, "stride"_a);

    m.def("estimate_cost", [](const Spec& spec, const Levels& levels, const Choices& choices) {
        nb::gil_scoped_release released;
        return nnrcore::estimate_cost(spec.core, span(levels), choices.core);
    }, "spec"_a, nb::arg("levels").noconvert(), "choices"_a);

    m.def("quantise_tensor", [](const Spec& spec, const Array<const float, 2>& values, float step,
                                double lambda, const Choices& choices,
                                Array<std::int32_t, 2> levels) {
        nb::gil_scoped_release released;
        nnrcore::quantise_tensor(spec.core, span(values), step, lambda, choices.core, span(levels));
    }, "spec"_a, nb::arg("values").noconvert(), "step"_a, "lambda_"_a, "choices"_a,
       nb::arg("levels").noconvert());

    m.def("less_probable_cost", [] { return table(nnrcore::cost_tables().less_probable); });
    m.def("more_probable_cost", [] { return table(nnrcore::cost_tables().more_probable); });
}
