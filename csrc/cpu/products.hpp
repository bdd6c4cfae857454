// Small products of row-major matrices, register tile by register tile, for kernel sources.
#pragma once

#include <cstdint>
#include <cstring>

#include "grokfast/simd.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

using std::int64_t;

// Tiles that fill the vector registers: accumulators plus what is loaded for them.
#if defined(GROKFAST_ISA_avx512)
constexpr int kDotRows = 6, kDotColumns = 4, kOuterRows = 6, kOuterVectors = 4;  // 32 registers
#else
constexpr int kDotRows = 3, kDotColumns = 3, kOuterRows = 6, kOuterVectors = 2;  // 16 registers
#endif

// Sum of the lanes, halving the vector until two are left: the order never depends on the caller.
template <typename T, int Bytes>
inline T sum_lanes(const T* lanes) {
  if constexpr (Bytes <= 16) {
    T sum = lanes[0];
    for (int k = 1; k < Bytes / static_cast<int>(sizeof(T)); ++k) sum += lanes[k];
    return sum;
  } else {
    typedef T Half __attribute__((vector_size(Bytes / 2)));
    Half low, high;
    std::memcpy(&low, lanes, sizeof(low));
    std::memcpy(&high, lanes + Bytes / 2 / sizeof(T), sizeof(high));
    low += high;
    T rest[Bytes / 2 / sizeof(T)];
    std::memcpy(rest, &low, sizeof(low));
    return sum_lanes<T, Bytes / 2>(rest);
  }
}

template <typename T>
inline T sum_lanes(typename Simd<T>::Vector v) {
  T lanes[Simd<T>::lanes];
  Simd<T>::store(lanes, v);
  return sum_lanes<T, GROKFAST_VECTOR_BYTES>(lanes);
}

// z[m, r] = sum_k a[m, k] b[r, k] + bias[r]
template <typename T, int Rows, int Columns>
inline void dot_tile(const T* a, const T* b, const T* bias, T* z, int64_t width, int64_t z_stride) {
  using S = Simd<T>;
  typename S::Vector sums[Rows][Columns] = {};
  int64_t k = 0;
  for (; k + S::lanes <= width; k += S::lanes) {
    typename S::Vector y[Columns];
#pragma GCC unroll 8
    for (int r = 0; r < Columns; ++r) y[r] = S::load(b + r * width + k);
#pragma GCC unroll 8
    for (int m = 0; m < Rows; ++m) {
      const typename S::Vector x = S::load(a + m * width + k);
#pragma GCC unroll 8
      for (int r = 0; r < Columns; ++r) sums[m][r] += x * y[r];
    }
  }
  for (int m = 0; m < Rows; ++m)
    for (int r = 0; r < Columns; ++r) {
      T sum = sum_lanes<T>(sums[m][r]);
      for (int64_t rest = k; rest < width; ++rest) sum += a[m * width + rest] * b[r * width + rest];
      z[m * z_stride + r] = sum + bias[r];
    }
}

template <typename T, int Rows>
inline void dot_strip(const T* a, const T* b, const T* bias, T* z, int64_t columns, int64_t width) {
  int64_t c = 0;
  for (; c + kDotColumns <= columns; c += kDotColumns)
    dot_tile<T, Rows, kDotColumns>(a, b + c * width, bias + c, z + c, width, columns);
  for (; c < columns; ++c) dot_tile<T, Rows, 1>(a, b + c * width, bias + c, z + c, width, columns);
}

template <typename T>
void dots(const T* a, const T* b, const T* bias, T* z, int64_t rows, int64_t columns, int64_t width) {
  int64_t m = 0;
  for (; m + kDotRows <= rows; m += kDotRows)
    dot_strip<T, kDotRows>(a + m * width, b, bias, z + m * columns, columns, width);
  for (; m < rows; ++m) dot_strip<T, 1>(a + m * width, b, bias, z + m * columns, columns, width);
}

// out[m, :] (+)= sum_j a[m * row_step + j * sum_step] b[j, :] on `Vectors` vectors of columns.
template <typename T, int Rows, int Vectors>
inline void outer_tile(const T* a, int64_t row_step, int64_t sum_step, const T* b, int64_t terms, T* out,
                       int64_t width, bool accumulate) {
  using S = Simd<T>;
  typename S::Vector sums[Rows][Vectors] = {};
  for (int64_t j = 0; j < terms; ++j) {
    typename S::Vector y[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) y[v] = S::load(b + j * width + v * S::lanes);
#pragma GCC unroll 8
    for (int m = 0; m < Rows; ++m) {
      const T x = a[m * row_step + j * sum_step];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sums[m][v] += x * y[v];
    }
  }
  for (int m = 0; m < Rows; ++m)
    for (int v = 0; v < Vectors; ++v) {
      T* to = out + m * width + v * S::lanes;
      S::store(to, accumulate ? S::load(to) + sums[m][v] : sums[m][v]);
    }
}

template <typename T, int Vectors>
inline void outer_strip(const T* a, int64_t row_step, int64_t sum_step, const T* b, int64_t rows, int64_t terms,
                        T* out, int64_t width, bool accumulate) {
  int64_t m = 0;
  for (; m + kOuterRows <= rows; m += kOuterRows)
    outer_tile<T, kOuterRows, Vectors>(a + m * row_step, row_step, sum_step, b, terms, out + m * width, width,
                                       accumulate);
  for (; m < rows; ++m)
    outer_tile<T, 1, Vectors>(a + m * row_step, row_step, sum_step, b, terms, out + m * width, width, accumulate);
}

template <typename T>
void outer(const T* a, int64_t row_step, int64_t sum_step, const T* b, int64_t rows, int64_t terms, T* out,
           int64_t width, bool accumulate) {
  constexpr int64_t lanes = Simd<T>::lanes;
  int64_t k = 0;
  for (; k + kOuterVectors * lanes <= width; k += kOuterVectors * lanes)
    outer_strip<T, kOuterVectors>(a, row_step, sum_step, b + k, rows, terms, out + k, width, accumulate);
  for (; k + lanes <= width; k += lanes)
    outer_strip<T, 1>(a, row_step, sum_step, b + k, rows, terms, out + k, width, accumulate);
  for (; k < width; ++k)
    for (int64_t m = 0; m < rows; ++m) {
      T sum = 0;
      for (int64_t j = 0; j < terms; ++j) sum += a[m * row_step + j * sum_step] * b[j * width + k];
      out[m * width + k] = accumulate ? out[m * width + k] + sum : sum;
    }
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
