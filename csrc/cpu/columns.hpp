// Sums of chosen columns of a matrix, for kernel sources.
#pragma once

#include <cstdint>

#include "grokfast/simd.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

using std::int32_t;
using std::int64_t;

// sums += sum over k < count of x(k) columns[list[k], 0 .. Vectors)
template <typename T, int Vectors, typename Factor>
inline void sum_columns(Factor x, const int32_t* list, int count, const T* columns, int64_t stride,
                        typename Simd<T>::Vector (&sums)[Vectors]) {
  using S = Simd<T>;
  for (int k = 0; k < count; ++k) {
    const T factor = x(k);
    const T* from = columns + list[k] * stride;
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sums[v] += factor * S::load(from + v * S::lanes);
  }
}

// The same, added to z[0 .. Vectors).
template <typename T, int Vectors, typename Factor>
inline void add_column_tile(Factor x, const int32_t* list, int count, const T* columns, int64_t stride, T* z) {
  using S = Simd<T>;
  typename S::Vector sums[Vectors];
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) sums[v] = S::load(z + v * S::lanes);
  sum_columns<T, Vectors>(x, list, count, columns, stride, sums);
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) S::store(z + v * S::lanes, sums[v]);
}

// z[0 .. width) += sum over k < count of x(k) columns[list[k], 0 .. width), columns `step` apart; width is a multiple of the
// lanes.
template <typename T, typename Factor>
inline void add_columns(Factor x, const int32_t* list, int count, const T* columns, int64_t step, int64_t width, T* z) {
  constexpr int64_t lanes = Simd<T>::lanes;
  int64_t c = 0;
  for (; c + 8 * lanes <= width; c += 8 * lanes) add_column_tile<T, 8>(x, list, count, columns + c, step, z + c);
  for (; c + 4 * lanes <= width; c += 4 * lanes) add_column_tile<T, 4>(x, list, count, columns + c, step, z + c);
  for (; c + 2 * lanes <= width; c += 2 * lanes) add_column_tile<T, 2>(x, list, count, columns + c, step, z + c);
  for (; c < width; c += lanes) add_column_tile<T, 1>(x, list, count, columns + c, step, z + c);
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
