// SPDX-License-Identifier: Apache-2.0
// Two doubles side by side, in one register where the compiler can say so. Every operation rounds
// as it does on one double, so that results do not depend on which of the two ways is compiled.
#pragma once

#include <cstdint>

namespace nnrcore::detail {

#if defined(__GNUC__)

typedef double Pair __attribute__((vector_size(16)));
typedef std::int64_t PairMask __attribute__((vector_size(16)));  // 0 or -1 from comparisons

inline PairMask less(Pair a, Pair b) { return a < b; }
inline Pair select(PairMask which, Pair a, Pair b) {
    return reinterpret_cast<Pair>((reinterpret_cast<PairMask>(a) & which) |
                                  (reinterpret_cast<PairMask>(b) & ~which));
}

#else

template <class T>
struct TwoOf {
    T values[2];

    T operator[](int n) const { return values[n]; }
};
using Pair = TwoOf<double>;
using PairMask = TwoOf<std::int64_t>;

inline Pair operator+(Pair a, Pair b) { return {a[0] + b[0], a[1] + b[1]}; }
inline Pair operator-(Pair a, Pair b) { return {a[0] - b[0], a[1] - b[1]}; }
inline Pair operator*(Pair a, Pair b) { return {a[0] * b[0], a[1] * b[1]}; }
inline PairMask operator&(PairMask a, PairMask b) { return {a[0] & b[0], a[1] & b[1]}; }
inline PairMask operator|(PairMask a, PairMask b) { return {a[0] | b[0], a[1] | b[1]}; }
inline PairMask operator^(PairMask a, PairMask b) { return {a[0] ^ b[0], a[1] ^ b[1]}; }
inline PairMask less(Pair a, Pair b) { return {-(a[0] < b[0]), -(a[1] < b[1])}; }
inline Pair select(PairMask which, Pair a, Pair b) {
    return {which[0] ? a[0] : b[0], which[1] ? a[1] : b[1]};
}

#endif

inline Pair both(double value) { return Pair{value, value}; }

}  // namespace nnrcore::detail
