// Register tiles and packing shared by the Fisher kernels; for kernel sources only, see simd.hpp.
//
// Operands are packed into panels: `rows` panels hold kRows values a step (broadcast), `columns` panels hold
// kVectors vectors a step. A tile keeps kRows x kVectors vectors in registers.
#pragma once

#include <algorithm>

#include "grokfast/fisher_array.hpp"
#include "grokfast/simd.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

#if defined(GROKFAST_ISA_avx512)
constexpr int kRows = 12;
#else
constexpr int kRows = 6;
#endif
constexpr int kVectors = 2;
constexpr int64_t kDepth = 256;  // steps summed in registers before they are added to memory

template <typename T>
constexpr int64_t kWidth = kVectors * Simd<T>::lanes;

inline int64_t panels(int64_t size, int64_t panel) { return (size + panel - 1) / panel; }

// to[panel][k][r] = get(k, panel * size + r), zero beyond `total`.
template <typename T, typename Get>
inline void pack(T* to, int64_t steps, int64_t total, int64_t size, Get get) {
  for (int64_t first = 0; first < total; first += size) {
    const int64_t width = std::min(size, total - first);
    for (int64_t k = 0; k < steps; ++k, to += size) {
      for (int64_t r = 0; r < width; ++r) to[r] = get(k, first + r);
      for (int64_t r = width; r < size; ++r) to[r] = T(0);
    }
  }
}

// One tile: sum_k a[k][r] b[k][vector], in registers.
template <typename T>
struct Tile {
  using S = Simd<T>;
  typename S::Vector v[kRows][kVectors];

  inline void clear() {
    for (int r = 0; r < kRows; ++r)
      for (int k = 0; k < kVectors; ++k) v[r][k] = typename S::Vector{};
  }
  inline void add(const T* a, const T* b, int64_t steps) {
    for (int64_t k = 0; k < steps; ++k, a += kRows, b += kWidth<T>) {
      const auto b0 = S::load(b), b1 = S::load(b + S::lanes);
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r) {
        v[r][0] += a[r] * b0;
        v[r][1] += a[r] * b1;
      }
    }
  }
  // c[r][...] += tile, only the part inside rows x columns.
  inline void flush(T* c, int64_t stride, int64_t rows, int64_t columns) const {
    if (rows >= kRows && columns >= kWidth<T>) {
#pragma GCC unroll 12
      for (int r = 0; r < kRows; ++r)
        for (int k = 0; k < kVectors; ++k) {
          T* to = c + r * stride + k * S::lanes;
          S::store(to, S::load(to) + v[r][k]);
        }
      return;
    }
    T flat[kRows][kWidth<T>];
    std::memcpy(flat, v, sizeof(flat));
    for (int64_t r = 0; r < std::min<int64_t>(rows, kRows); ++r)
      for (int64_t k = 0; k < std::min(columns, kWidth<T>); ++k) c[r * stride + k] += flat[r][k];
  }
};

// C[m][n] += sum_k get_a(k, m) get_b(k, n) for m in [first, last), n in [0, columns), k in [0, steps). The result
// for one (m, n) does not depend on how [first, last) cuts the rows.
template <typename T, typename GetA, typename GetB>
inline void gemm_add(int64_t first, int64_t last, int64_t columns, int64_t steps, GetA get_a, GetB get_b, T* c,
                     int64_t stride) {
  if (first >= last || columns <= 0) return;
  Array<T> b(panels(columns, kWidth<T>) * kWidth<T> * std::min(steps, kDepth));
  Array<T> a(kRows * std::min(steps, kDepth));
  for (int64_t k0 = 0; k0 < steps; k0 += kDepth) {
    const int64_t depth = std::min(kDepth, steps - k0);
    pack(b.data(), depth, columns, kWidth<T>, [&](int64_t k, int64_t n) { return get_b(k0 + k, n); });
    for (int64_t m = first; m < last; m += kRows) {
      pack(a.data(), depth, std::min<int64_t>(kRows, last - m), kRows,
           [&](int64_t k, int64_t r) { return get_a(k0 + k, m + r); });
      for (int64_t n = 0; n < columns; n += kWidth<T>) {
        Tile<T> tile;
        tile.clear();
        tile.add(a.data(), b.data() + n * depth, depth);
        tile.flush(c + m * stride + n, stride, last - m, columns - n);
      }
    }
  }
}

// The same with B packed beforehand: pack(b, steps, columns, kWidth<T>, get_b).
template <typename T, typename GetA>
inline void gemm_packed(int64_t rows, int64_t columns, int64_t steps, GetA get_a, const T* b, T* c, int64_t stride) {
  Array<T> a(kRows * steps);
  for (int64_t m = 0; m < rows; m += kRows) {
    pack(a.data(), steps, std::min<int64_t>(kRows, rows - m), kRows,
         [&](int64_t k, int64_t r) { return get_a(k, m + r); });
    for (int64_t n = 0; n < columns; n += kWidth<T>)
      for (int64_t k = 0; k < steps; k += kDepth) {
        Tile<T> tile;
        tile.clear();
        tile.add(a.data() + k * kRows, b + n * steps + k * kWidth<T>, std::min(kDepth, steps - k));
        tile.flush(c + m * stride + n, stride, rows - m, columns - n);
      }
  }
}

// The rows [0, total) in `parts` ranges, in whole panels.
inline int64_t part_start(int64_t total, int64_t parts, int64_t part) {
  const int64_t each = panels(panels(total, kRows), parts) * kRows;
  return std::min(total, part * each);
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
