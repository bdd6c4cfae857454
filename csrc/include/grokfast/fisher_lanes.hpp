// Layers of a small network with one sample per vector lane: an array [c][y][x] of vectors is `lanes` images at once,
// so any number of channels and any size fills the vectors, and sums over lanes wait until the very end.
#pragma once

#include <algorithm>
#include <limits>

#include "grokfast/fisher_gemm.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

#if defined(GROKFAST_ISA_avx512)
constexpr int kAccumulators = 16;
#else
constexpr int kAccumulators = 8;
#endif

// One layer, as Python describes it (grokfast/ops/fisher_chain.py): kFields numbers each.
enum LayerKind : int64_t { kConv = 0, kRelu = 1, kMaxPool = 2, kLinear = 3 };
struct Layer {
  int64_t kind, channels_in, height_in, width_in, channels, height, width;
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  int64_t weight, bias;  // index of the parameter, -1 if there is none

  int64_t in_size() const { return channels_in * height_in * width_in; }
  int64_t size() const { return channels * height * width; }
  int64_t taps() const { return kernel_h * kernel_w; }
};

struct Grid {
  int64_t height, width;
};

// Weights in the order in which the tiles below read them: tiles of 4, 2 or 1 outputs, then get(o, k) for k < inner.
inline int64_t tile_width(int64_t left) { return left >= 4 ? 4 : left >= 2 ? 2 : 1; }
template <typename T, typename Get>
Array<T> pack_outputs(int64_t outputs, int64_t inner, Get get) {
  Array<T> packed;
  packed.reserve(outputs * inner);
  for (int64_t o = 0; o < outputs; o += tile_width(outputs - o))
    for (int64_t k = 0; k < inner; ++k)
      for (int64_t r = 0; r < tile_width(outputs - o); ++r) packed.push_back(get(o + r, k));
  return packed;
}

template <typename T>
struct Lanes {
  using S = Simd<T>;
  using V = typename S::Vector;
  static constexpr int64_t L = S::lanes;

  // to[c][pad + step * y][pad + step * x] = from[c][y][x], zero elsewhere.
  static void place(const T* from, int64_t channels, Grid in, T* to, Grid out, int64_t top, int64_t left, int64_t step_h,
                    int64_t step_w) {
    std::fill_n(to, channels * out.height * out.width * L, T(0));
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t y = 0; y < in.height; ++y) {
        const int64_t row = top + y * step_h;
        if (row < 0 || row >= out.height) continue;
        for (int64_t x = 0; x < in.width; ++x) {
          const int64_t column = left + x * step_w;
          if (column < 0 || column >= out.width) continue;
          S::store(to + ((c * out.height + row) * out.width + column) * L,
                   S::load(from + ((c * in.height + y) * in.width + x) * L));
        }
      }
  }

  template <int Outputs, int Columns>
  static inline void conv_tile(const T* in, int64_t channels, Grid padded, const T* w, const T* bias, const Layer& k,
                               T* out, int64_t plane) {
    V acc[Outputs][Columns];
    for (int o = 0; o < Outputs; ++o)
      for (int j = 0; j < Columns; ++j) acc[o][j] = S::fill(bias == nullptr ? T(0) : bias[o]);
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t ky = 0; ky < k.kernel_h; ++ky) {
        const T* row = in + (c * padded.height + ky * k.dilation_h) * padded.width * L;
        for (int64_t kx = 0; kx < k.kernel_w; ++kx, w += Outputs) {
          const T* at = row + kx * k.dilation_w * L;
#pragma GCC unroll 16
          for (int j = 0; j < Columns; ++j) {
            const V x = S::load(at + j * k.stride_w * L);
#pragma GCC unroll 4
            for (int o = 0; o < Outputs; ++o) acc[o][j] += w[o] * x;
          }
        }
      }
    for (int o = 0; o < Outputs; ++o)
      for (int j = 0; j < Columns; ++j) S::store(out + o * plane + j * L, acc[o][j]);
  }

  template <int Outputs>
  static void conv_rows(const T* in, int64_t channels, Grid padded, const T* w, const T* bias, const Layer& k, Grid size,
                        T* out) {
    constexpr int Columns = kAccumulators / Outputs, Few = Columns >= 8 ? 4 : 2;
    const int64_t plane = size.height * size.width * L;
    for (int64_t y = 0; y < size.height; ++y) {
      const T* row = in + y * k.stride_h * padded.width * L;
      T* to = out + y * size.width * L;
      int64_t x = 0;
      for (; x + Columns <= size.width; x += Columns)
        conv_tile<Outputs, Columns>(row + x * k.stride_w * L, channels, padded, w, bias, k, to + x * L, plane);
      for (; x + Few <= size.width; x += Few)
        conv_tile<Outputs, Few>(row + x * k.stride_w * L, channels, padded, w, bias, k, to + x * L, plane);
      for (; x < size.width; ++x)
        conv_tile<Outputs, 1>(row + x * k.stride_w * L, channels, padded, w, bias, k, to + x * L, plane);
    }
  }

  // out[o][y][x] = bias[o] + sum w[o][c][ky][kx] in[c][y * stride + ky * dilation][...]; w from pack_outputs.
  static void conv(const T* in, int64_t channels, Grid padded, const T* w, const T* bias, const Layer& k,
                   int64_t outputs, Grid size, T* out) {
    const int64_t inner = channels * k.taps();
    for (int64_t o = 0; o < outputs;) {
      const int64_t width = tile_width(outputs - o);
      const T *wo = w + o * inner, *b = bias == nullptr ? nullptr : bias + o;
      T* to = out + o * size.height * size.width * L;
      if (width == 4) conv_rows<4>(in, channels, padded, wo, b, k, size, to);
      if (width == 2) conv_rows<2>(in, channels, padded, wo, b, k, size, to);
      if (width == 1) conv_rows<1>(in, channels, padded, wo, b, k, size, to);
      o += width;
    }
  }

  template <int Outputs, int Taps>
  static inline void conv_square_tile(const T* in, Grid padded, const T* g, int64_t plane, const Layer& k,
                                      const int64_t* offset, T* total, int64_t step) {
    V acc[Outputs][Taps] = {};
    for (int64_t y = 0; y < k.height; ++y) {
      const T* at = in + y * k.stride_h * padded.width * L;
      const T* from = g + y * k.width * L;
      for (int64_t x = 0; x < k.width; ++x, at += k.stride_w * L, from += L) {
        V gs[Outputs];
        for (int o = 0; o < Outputs; ++o) gs[o] = S::load(from + o * plane);
#pragma GCC unroll 9
        for (int t = 0; t < Taps; ++t) {
          const V v = S::load(at + offset[t]);
          for (int o = 0; o < Outputs; ++o) acc[o][t] += gs[o] * v;
        }
      }
    }
    for (int o = 0; o < Outputs; ++o)
      for (int t = 0; t < Taps; ++t) {
        T* to = total + o * step + t * L;
        S::store(to, S::load(to) + acc[o][t] * acc[o][t]);
      }
  }

  template <int Outputs>
  static void conv_square_taps(const T* in, Grid padded, const T* g, int64_t plane, const Layer& k,
                               const int64_t* offset, T* total, int64_t step) {
    int64_t t = 0;
    for (; kAccumulators >= 16 && t + 9 <= k.taps(); t += 9)
      conv_square_tile<Outputs, 9>(in, padded, g, plane, k, offset + t, total + t * L, step);
    for (; t + 3 <= k.taps(); t += 3)
      conv_square_tile<Outputs, 3>(in, padded, g, plane, k, offset + t, total + t * L, step);
    for (; t < k.taps(); ++t)
      conv_square_tile<Outputs, 1>(in, padded, g, plane, k, offset + t, total + t * L, step);
  }

  // total[o][c][tap] += (sum over positions of g[o] in[c][position + tap])^2, lane by lane.
  static void conv_squares(const T* in, Grid padded, const T* g, const Layer& k, T* total) {
    Array<int64_t> offset;
    for (int64_t ky = 0; ky < k.kernel_h; ++ky)
      for (int64_t kx = 0; kx < k.kernel_w; ++kx)
        offset.push_back((ky * k.dilation_h * padded.width + kx * k.dilation_w) * L);
    const int64_t plane = k.height * k.width * L, step = k.channels_in * k.taps() * L;
    for (int64_t c = 0; c < k.channels_in; ++c) {
      const T* image = in + c * padded.height * padded.width * L;
      int64_t o = 0;
      for (; o + 2 <= k.channels; o += 2)
        conv_square_taps<2>(image, padded, g + o * plane, plane, k, offset.data(), total + o * step + c * k.taps() * L,
                            step);
      if (o < k.channels)
        conv_square_taps<1>(image, padded, g + o * plane, plane, k, offset.data(), total + o * step + c * k.taps() * L,
                            step);
    }
  }

  // The first largest value of every window, as torch takes it.
  static void max_pool(const T* in, const Layer& k, T* out) {
    for (int64_t c = 0; c < k.channels; ++c)
      for (int64_t y = 0; y < k.height; ++y)
        for (int64_t x = 0; x < k.width; ++x) {
          const T* window = in + ((c * k.height_in + y * k.stride_h) * k.width_in + x * k.stride_w) * L;
          V best = S::load(window);
          for (int64_t ky = 0; ky < k.kernel_h; ++ky)
            for (int64_t kx = 0; kx < k.kernel_w; ++kx) {
              const V v = S::load(window + (ky * k.width_in + kx) * L);
              best = v > best ? v : best;
            }
          S::store(out + ((c * k.height + y) * k.width + x) * L, best);
        }
  }
  static void max_pool_back(const T* in, const T* out, const T* g, const Layer& k, T* g_in) {
    std::fill_n(g_in, k.in_size() * L, T(0));
    const V zero = {};
    for (int64_t c = 0; c < k.channels; ++c)
      for (int64_t y = 0; y < k.height; ++y)
        for (int64_t x = 0; x < k.width; ++x) {
          const int64_t corner = ((c * k.height_in + y * k.stride_h) * k.width_in + x * k.stride_w) * L;
          const int64_t at = ((c * k.height + y) * k.width + x) * L;
          const V best = S::load(out + at);
          V left = S::load(g + at);
          for (int64_t ky = 0; ky < k.kernel_h; ++ky)
            for (int64_t kx = 0; kx < k.kernel_w; ++kx) {
              const int64_t tap = corner + (ky * k.width_in + kx) * L;
              const auto hit = S::load(in + tap) == best;
              S::store(g_in + tap, S::load(g_in + tap) + (hit ? left : zero));
              left = hit ? zero : left;
            }
        }
  }

  template <int Outputs>
  static inline void linear_tile(const T* in, int64_t inputs, const T* w, const T* bias, T* out) {
    V acc[Outputs][2] = {};
    int64_t i = 0;
    for (; i + 2 <= inputs; i += 2, w += 2 * Outputs) {
      const V x0 = S::load(in + i * L), x1 = S::load(in + (i + 1) * L);
      for (int o = 0; o < Outputs; ++o) {
        acc[o][0] += w[o] * x0;
        acc[o][1] += w[Outputs + o] * x1;
      }
    }
    if (i < inputs)
      for (int o = 0; o < Outputs; ++o) acc[o][0] += w[o] * S::load(in + i * L);
    for (int o = 0; o < Outputs; ++o)
      S::store(out + o * L, acc[o][0] + acc[o][1] + S::fill(bias == nullptr ? T(0) : bias[o]));
  }
  static void linear(const T* in, int64_t inputs, const T* w, const T* bias, int64_t outputs, T* out) {
    for (int64_t o = 0; o < outputs;) {
      const int64_t width = tile_width(outputs - o);
      const T *wo = w + o * inputs, *b = bias == nullptr ? nullptr : bias + o;
      if (width == 4) linear_tile<4>(in, inputs, wo, b, out + o * L);
      if (width == 2) linear_tile<2>(in, inputs, wo, b, out + o * L);
      if (width == 1) linear_tile<1>(in, inputs, wo, b, out + o * L);
      o += width;
    }
  }

  static void relu(T* x, int64_t size) {
    const V zero = {};
    for (int64_t k = 0; k < size; ++k) {
      const V v = S::load(x + k * L);
      S::store(x + k * L, v > zero ? v : zero);
    }
  }
  static void mask(T* g, const T* y, int64_t size) {
    const V zero = {};
    for (int64_t k = 0; k < size; ++k) S::store(g + k * L, S::load(y + k * L) > zero ? S::load(g + k * L) : zero);
  }
  // The largest magnitude, infinite if any value is not finite.
  static double largest(const T* x, int64_t size) {
    V sum = {}, most = {};
    for (int64_t k = 0; k < size; ++k) {
      const V v = S::load(x + k * L), magnitude = v < V{} ? -v : v;
      sum += v - v;
      most = magnitude > most ? magnitude : most;
    }
    double found = 0.0;
    for (int64_t j = 0; j < L; ++j)
      found = std::max(found, sum[j] == T(0) ? static_cast<double>(most[j]) : std::numeric_limits<double>::infinity());
    return found;
  }
  static bool finite(const T* x, int64_t size) {
    V sum = {};
    for (int64_t k = 0; k < size; ++k) {
      const V v = S::load(x + k * L);
      sum += v - v;
    }
    for (int64_t j = 0; j < L; ++j)
      if (!(sum[j] == T(0))) return false;
    return true;
  }
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
