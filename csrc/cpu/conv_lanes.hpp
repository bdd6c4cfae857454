// Convolution - ReLU - 2x2 max-pooling with one sample per vector lane, forward and backward, for kernel sources.
//
// A multiplication is a broadcast weight times a vector of samples. Two rows of the map before pooling live in registers
// until they are pooled; what is kept is who won in each window, which is all that the way back needs.
#pragma once

#include <algorithm>
#include <type_traits>
#include <cstdint>

#include "lane_pack.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

#if defined(GROKFAST_ISA_avx512)
constexpr int kConvSums = 16, kConvOutputs = 4;  // accumulators and output channels of a tile
#else
constexpr int kConvSums = 8, kConvOutputs = 2;
#endif
constexpr int kDead = 4;  // the winner of a window without a positive value

// The sizes of one block. Maps around a convolution have a border of r = k / 2 zeros and even sizes within it.
struct ConvBlock {
  int64_t channels, height, width, outputs, kernel;

  int64_t border() const { return kernel / 2; }
  int64_t even_height() const { return (height + 1) / 2 * 2; }
  int64_t even_width() const { return (width + 1) / 2 * 2; }
  int64_t rows() const { return even_height() + 2 * border(); }
  int64_t columns() const { return even_width() + 2 * border(); }
  int64_t pooled_height() const { return height / 2; }
  int64_t pooled_width() const { return width / 2; }
  int64_t pooled() const { return pooled_height() * pooled_width(); }
  int64_t weights() const { return outputs * channels * kernel * kernel; }
};

template <typename T>
struct ConvLanes {
  using S = Simd<T>;
  using V = typename S::Vector;
  using Mask = decltype(V{} < V{});  // integers of T's size
  using Code = std::remove_reference_t<decltype(Mask{}[0])>;
  static constexpr int64_t L = S::lanes;

  // Sizes in elements of a padded map of inputs, a padded map of outputs, and an even map of inputs.
  static int64_t input_size(const ConvBlock& b) { return b.channels * b.rows() * b.columns() * L; }
  static int64_t full_size(const ConvBlock& b) { return b.outputs * b.rows() * b.columns() * L; }
  static int64_t even_size(const ConvBlock& b) { return b.channels * b.even_height() * b.even_width() * L; }
  static int64_t pooled_size(const ConvBlock& b) { return b.outputs * b.pooled() * L; }

  static LaneMap<T> inside(const ConvBlock& b, T* padded) {
    return {padded + b.border() * (b.columns() + 1) * L, b.rows() * b.columns() * L, b.columns() * L, L};
  }
  static LaneMap<T> even_map(const ConvBlock& b, T* start) {
    return {start, b.even_height() * b.even_width() * L, b.even_width() * L, L};
  }
  static LaneMap<T> pooled_map(const ConvBlock& b, T* start) {
    return {start, b.pooled() * L, b.pooled_width() * L, L};
  }

  static int64_t tile_of(int64_t left) {
    return kConvOutputs >= 4 && left >= 4 ? 4 : left >= 2 ? 2 : 1;
  }

  // Weights in the order in which the tiles read them; mirrored, with channels exchanged, for the way back.
  static void pack_weights(const T* w, const ConvBlock& b, bool mirrored, T* to) {
    const int64_t taps = b.kernel * b.kernel, outputs = mirrored ? b.channels : b.outputs;
    const int64_t channels = mirrored ? b.outputs : b.channels;
    for (int64_t o = 0; o < outputs; o += tile_of(outputs - o))
      for (int64_t c = 0; c < channels; ++c)
        for (int64_t t = 0; t < taps; ++t)
          for (int64_t r = 0; r < tile_of(outputs - o); ++r)
            *to++ = mirrored ? w[(c * b.channels + o + r) * taps + taps - 1 - t] : w[((o + r) * b.channels + c) * taps + t];
  }

  // sums[o][row][column] of two rows and `Columns` columns.
  template <int Outputs, int Columns>
  static inline __attribute__((always_inline)) void tile(const T* in, int64_t channels, const ConvBlock& b, const T* w,
                                                         V (&sums)[Outputs][2][Columns]) {
    const int64_t row = b.columns() * L, plane = b.rows() * row, k = b.kernel;
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t u = 0; u < k; ++u) {
        const T* at = in + c * plane + u * row;
        for (int64_t v = 0; v < k; ++v, at += L, w += Outputs) {
          V x[2][Columns];
#pragma GCC unroll 2
          for (int y = 0; y < 2; ++y)
#pragma GCC unroll 8
            for (int j = 0; j < Columns; ++j) x[y][j] = S::load(at + y * row + j * L);
#pragma GCC unroll 4
          for (int o = 0; o < Outputs; ++o) {
            const V weight = S::fill(w[o]);
#pragma GCC unroll 2
            for (int y = 0; y < 2; ++y)
#pragma GCC unroll 8
              for (int j = 0; j < Columns; ++j) sums[o][y][j] += weight * x[y][j];
          }
        }
      }
  }

  // The largest positive value of each window, its place (or kDead), and NaN where there is one.
  template <int Outputs, int Columns, bool Codes>
  static inline __attribute__((always_inline)) void pool(const V (&sums)[Outputs][2][Columns], LaneMap<T> out,
                                                         int64_t o, int64_t i, int64_t j, Code* codes, const ConvBlock& b) {
#pragma GCC unroll 4
    for (int r = 0; r < Outputs; ++r)
#pragma GCC unroll 4
      for (int w = 0; w < Columns / 2; ++w) {
        V best = {};
        Mask code = Mask{} + kDead;
#pragma GCC unroll 4
        for (int p = 0; p < 4; ++p) {
          const V v = sums[r][p / 2][2 * w + p % 2];
          const Mask take = v > best;
          best = take ? v : best;
          if (Codes) code = take ? Mask{} + p : code;
        }
        const V v0 = sums[r][0][2 * w], v1 = sums[r][0][2 * w + 1], v2 = sums[r][1][2 * w], v3 = sums[r][1][2 * w + 1];
        const Mask spoilt = (v0 != v0) | (v1 != v1) | (v2 != v2) | (v3 != v3);
        best = spoilt ? v0 + v1 + v2 + v3 : best;
        S::store(out.at(o + r, i, j + w), best);
        if (Codes) std::memcpy(codes + (((o + r) * b.pooled_height() + i) * b.pooled_width() + j + w) * L, &code, sizeof(code));
      }
  }

  template <int Outputs, int Columns, bool Codes>
  static inline void forward_tile(const T* in, const ConvBlock& b, const T* w, const T* bias, LaneMap<T> out,
                                  int64_t o, int64_t i, int64_t j, Code* codes) {
    V sums[Outputs][2][Columns];
    for (int r = 0; r < Outputs; ++r)
      for (int y = 0; y < 2; ++y)
        for (int x = 0; x < Columns; ++x) sums[r][y][x] = S::fill(bias[o + r]);
    tile<Outputs, Columns>(in + 2 * (i * b.columns() + j) * L, b.channels, b, w, sums);
    pool<Outputs, Columns, Codes>(sums, out, o, i, j, codes, b);
  }

  template <int Outputs, bool Codes>
  static void forward_rows(const T* in, const ConvBlock& b, const T* w, const T* bias, LaneMap<T> out, int64_t o,
                           Code* codes) {
    constexpr int Columns = kConvSums / (2 * Outputs);
    for (int64_t i = 0; i < b.pooled_height(); ++i) {
      int64_t j = 0;
      for (; j + Columns / 2 <= b.pooled_width(); j += Columns / 2)
        forward_tile<Outputs, Columns, Codes>(in, b, w, bias, out, o, i, j, codes);
      for (; j < b.pooled_width(); ++j) forward_tile<Outputs, 2, Codes>(in, b, w, bias, out, o, i, j, codes);
    }
  }

  // The pooled map of a padded map; w from pack_weights.
  template <bool Codes>
  static void forward(const T* in, const ConvBlock& b, const T* w, const T* bias, LaneMap<T> out, Code* codes) {
    for (int64_t o = 0; o < b.outputs;) {
      const int64_t size = tile_of(b.outputs - o);
      const T* from = w + o * b.channels * b.kernel * b.kernel;
      if constexpr (kConvOutputs >= 4)
        if (size == 4) forward_rows<4, Codes>(in, b, from, bias, out, o, codes);
      if (size == 2) forward_rows<2, Codes>(in, b, from, bias, out, o, codes);
      if (size == 1) forward_rows<1, Codes>(in, b, from, bias, out, o, codes);
      o += size;
    }
  }

  static Mask load_codes(const Code* from) {
    Mask code;
    std::memcpy(&code, from, sizeof(code));
    return code;
  }

  // Gradient of the pooled map without what meets a dead window, dense; its sums over windows are added to bias[o].
  static void mask_gradient(LaneMap<const T> grad, const ConvBlock& b, const Code* codes, T* masked, T* bias) {
    for (int64_t o = 0; o < b.outputs; ++o) {
      V sum = {};
      for (int64_t i = 0; i < b.pooled_height(); ++i)
        for (int64_t j = 0; j < b.pooled_width(); ++j, codes += L, masked += L) {
          const V g = load_codes(codes) == kDead ? V{} : S::load(grad.at(o, i, j));
          S::store(masked, g);
          sum += g;
        }
      S::store(bias + o * L, S::load(bias + o * L) + sum);
    }
  }

  // total[u][v] += sum over windows of g times the input that the winner saw through tap (u, v), `U` by `W` taps.
  template <int U, int W>
  static inline void tap_tile(const T* in, const T* g, const Code* codes, const ConvBlock& b, T* total) {
    const int64_t row = b.columns() * L;
    V sums[U][W] = {};
    for (int64_t i = 0; i < b.pooled_height(); ++i) {
      const T* at = in + 2 * i * row;
      for (int64_t j = 0; j < b.pooled_width(); ++j, at += 2 * L, g += L, codes += L) {
        const V grad = S::load(g);
        const Mask code = load_codes(codes), down = (code & 2) != 0, right = (code & 1) != 0;
#pragma GCC unroll 3
        for (int u = 0; u < U; ++u) {
          V seen[W + 1];
#pragma GCC unroll 6
          for (int q = 0; q <= W; ++q)
            seen[q] = down ? S::load(at + (u + 1) * row + q * L) : S::load(at + u * row + q * L);
#pragma GCC unroll 5
          for (int v = 0; v < W; ++v) sums[u][v] += grad * (right ? seen[v + 1] : seen[v]);
        }
      }
    }
    for (int u = 0; u < U; ++u)
      for (int v = 0; v < W; ++v) {
        T* to = total + (u * b.kernel + v) * L;
        S::store(to, S::load(to) + sums[u][v]);
      }
  }

  template <int U>
  static void tap_row(const T* in, const T* g, const Code* codes, const ConvBlock& b, T* total) {
    int64_t v = 0;
    for (; v + 5 <= b.kernel; v += 5) tap_tile<U, 5>(in + v * L, g, codes, b, total + v * L);
    for (; v + 3 <= b.kernel; v += 3) tap_tile<U, 3>(in + v * L, g, codes, b, total + v * L);
    for (; v < b.kernel; ++v) tap_tile<U, 1>(in + v * L, g, codes, b, total + v * L);
  }

  // Adds the gradient of the weights, lane by lane, to total [o][c][u][v].
  static void weight_gradient(const T* in, const T* masked, const Code* codes, const ConvBlock& b, T* total) {
    constexpr int U = GROKFAST_VECTOR_BYTES == 64 ? 3 : 1;
    const int64_t row = b.columns() * L;
    for (int64_t o = 0; o < b.outputs; ++o)
      for (int64_t c = 0; c < b.channels; ++c) {
        const int64_t windows = o * b.pooled() * L;
        const T* from = in + c * b.rows() * row;
        T* to = total + (o * b.channels + c) * b.kernel * b.kernel * L;
        int64_t u = 0;
        for (; u + U <= b.kernel; u += U)
          tap_row<U>(from + u * row, masked + windows, codes + windows, b, to + u * b.kernel * L);
        for (; u < b.kernel; ++u)
          tap_row<1>(from + u * row, masked + windows, codes + windows, b, to + u * b.kernel * L);
      }
  }

  // The gradient before pooling: zero but at the winners. The border of `full` is left as it is.
  static void spread(const T* masked, const Code* codes, const ConvBlock& b, T* full) {
    const LaneMap<T> out = inside(b, full);
    const int64_t plane = b.rows() * b.columns() * L;
    for (int64_t o = 0; o < b.outputs; ++o)
      for (int64_t i = 0; i < b.pooled_height(); ++i)
        for (int64_t j = 0; j < b.pooled_width(); ++j, codes += L, masked += L) {
          const V g = S::load(masked);
          const Mask code = load_codes(codes);
#pragma GCC unroll 4
          for (int p = 0; p < 4; ++p)
            S::store(out.start + o * plane + (2 * i + p / 2) * out.row + (2 * j + p % 2) * L, code == p ? g : V{});
        }
  }

  template <int Outputs, int Columns>
  static inline void back_tile(const T* full, const ConvBlock& b, const T* w, LaneMap<T> out, int64_t c, int64_t i,
                               int64_t x) {
    V sums[Outputs][2][Columns] = {};
    tile<Outputs, Columns>(full + (2 * i * b.columns() + x) * L, b.outputs, b, w, sums);
    for (int r = 0; r < Outputs; ++r)
      for (int y = 0; y < 2; ++y)
        for (int q = 0; q < Columns; ++q) S::store(out.at(c + r, 2 * i + y, x + q), sums[r][y][q]);
  }

  template <int Outputs>
  static void back_rows(const T* full, const ConvBlock& b, const T* w, LaneMap<T> out, int64_t c) {
    constexpr int Columns = kConvSums / (2 * Outputs);
    for (int64_t i = 0; i < b.even_height() / 2; ++i) {
      int64_t x = 0;
      for (; x + Columns <= b.even_width(); x += Columns) back_tile<Outputs, Columns>(full, b, w, out, c, i, x);
      for (; x < b.even_width(); x += 2) back_tile<Outputs, 2>(full, b, w, out, c, i, x);
    }
  }

  // Gradient of the inputs, an even map, from the spread gradient; w from pack_weights, mirrored.
  static void input_gradient(const T* full, const ConvBlock& b, const T* w, LaneMap<T> out) {
    for (int64_t c = 0; c < b.channels;) {
      const int64_t size = tile_of(b.channels - c);
      const T* from = w + c * b.outputs * b.kernel * b.kernel;
      if constexpr (kConvOutputs >= 4)
        if (size == 4) back_rows<4>(full, b, from, out, c);
      if (size == 2) back_rows<2>(full, b, from, out, c);
      if (size == 1) back_rows<1>(full, b, from, out, c);
      c += size;
    }
  }
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
