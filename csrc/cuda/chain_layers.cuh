// The layers of a chain, forward and backward, for one sample by one block; all values are doubles, parameters are T.
#pragma once

#include "grokfast/kernels.hpp"
#include "launch.cuh"

namespace grokfast::cuda {

constexpr int64_t kChainFields = 17;  // of a layer in the specification: grokfast/ops/chain_spec.py
enum ChainKind : int64_t { kConv = 0, kRelu = 1, kMaxPool = 2, kLinear = 3 };

struct ChainLayer {
  int64_t kind, C, H, W, O, OH, OW;  // channels, height and width in and out
  int64_t kh, kw, sh, sw, ph, pw, dh, dw;
  int64_t weight, bias;   // which parameter, or -1
  int64_t before, after;  // where its input and output begin among a sample's values

  void read(const int64_t* n) {
    kind = n[0], C = n[1], H = n[2], W = n[3], O = n[4], OH = n[5], OW = n[6], kh = n[7], kw = n[8];
    sh = n[9], sw = n[10], ph = n[11], pw = n[12], dh = n[13], dw = n[14], weight = n[15], bias = n[16];
  }
  __host__ __device__ int64_t inputs() const { return C * H * W; }
  __host__ __device__ int64_t outputs() const { return O * OH * OW; }
  // A parameter of member e, or null.
  template <typename T>
  __device__ const T* of(int64_t index, const int64_t* addresses, const int64_t* sizes, int64_t e) const {
    return index < 0 ? nullptr : reinterpret_cast<const T*>(addresses[index]) + e * sizes[index];
  }
};

template <typename T>
__device__ void layer_forward(const ChainLayer& l, const T* weight, const T* bias, const double* in, double* out,
                              int64_t* maxima) {
  for (int64_t at = threadIdx.x; at < l.outputs(); at += kThreads) {
    const int64_t o = at / (l.OH * l.OW), y = at / l.OW % l.OH, x = at % l.OW;
    double sum = bias ? double(bias[o]) : 0;
    if (l.kind == kRelu) {
      sum = in[at] < 0 ? 0 : in[at];
    } else if (l.kind == kLinear) {
      for (int64_t i = 0; i < l.inputs(); ++i) sum += double(weight[o * l.inputs() + i]) * in[i];
    } else if (l.kind == kConv) {
      for (int64_t c = 0; c < l.C; ++c)
        for (int64_t u = 0; u < l.kh; ++u)
          for (int64_t v = 0; v < l.kw; ++v) {
            const int64_t row = y * l.sh + u * l.dh - l.ph, column = x * l.sw + v * l.dw - l.pw;
            // Zeros of the border meet the weights, too: one that is not finite makes NaN of them.
            const bool inside = row >= 0 && row < l.H && column >= 0 && column < l.W;
            const double value = inside ? in[(c * l.H + row) * l.W + column] : 0;
            sum += double(weight[((o * l.C + c) * l.kh + u) * l.kw + v]) * value;
          }
    } else {  // the first of equal maxima; NaN is larger than everything
      int64_t where = (o * l.H + y * l.sh) * l.W + x * l.sw;
      for (int64_t u = 0; u < l.kh; ++u)
        for (int64_t v = 0; v < l.kw; ++v) {
          const int64_t from = (o * l.H + y * l.sh + u) * l.W + x * l.sw + v;
          if (in[from] > in[where] || in[from] != in[from]) where = from;
        }
      sum = in[where];
      maxima[at] = where;
    }
    out[at] = sum;
  }
}

// Adds `scale` times the squares of a layer's gradients, of weight and bias where it has them, for g at its output.
__device__ inline void layer_squares(const ChainLayer& l, const double* g, const double* in, double scale,
                                     double* weight, double* bias) {
  const int64_t map = l.OH * l.OW, inputs = l.inputs(), taps = l.C * l.kh * l.kw;
  for (int64_t k = threadIdx.x; weight && k < (l.kind == kConv ? l.O * taps : l.O * inputs); k += kThreads) {
    double sum = 0;
    if (l.kind == kLinear) {
      sum = g[k / inputs] * in[k % inputs];
    } else {
      const int64_t o = k / taps, c = k / (l.kh * l.kw) % l.C, u = k / l.kw % l.kh, v = k % l.kw;
      for (int64_t y = 0; y < l.OH; ++y)
        for (int64_t x = 0; x < l.OW; ++x) {
          const int64_t row = y * l.sh + u * l.dh - l.ph, column = x * l.sw + v * l.dw - l.pw;
          if (row < 0 || row >= l.H || column < 0 || column >= l.W) continue;
          sum += g[o * map + y * l.OW + x] * in[(c * l.H + row) * l.W + column];
        }
    }
    weight[k] += scale * sum * sum;
  }
  for (int64_t o = threadIdx.x; bias && o < l.O; o += kThreads) {
    double sum = 0;
    for (int64_t k = 0; k < map; ++k) sum += g[o * map + k];
    bias[o] += scale * sum * sum;
  }
}

// The gradient at a layer's input, from g at its output `out`: gathered, each input by one thread.
template <typename T>
__device__ void layer_backward(const ChainLayer& l, const T* weight, const double* g, const double* out,
                               const int64_t* maxima, double* to) {
  for (int64_t at = threadIdx.x; at < l.inputs(); at += kThreads) {
    const int64_t c = at / (l.H * l.W), row = at / l.W % l.H, column = at % l.W;
    double sum = 0;
    if (l.kind == kRelu) {
      sum = out[at] > 0 ? g[at] : 0;
    } else if (l.kind == kLinear) {
      for (int64_t o = 0; o < l.O; ++o) sum += g[o] * double(weight[o * l.inputs() + at]);
    } else {
      const int64_t channels = l.kind == kConv ? l.O : 1;
      for (int64_t u = 0; u < l.kh; ++u)
        for (int64_t v = 0; v < l.kw; ++v) {
          // The output whose tap (u, v) this input was.
          const int64_t y = row + l.ph - u * l.dh, x = column + l.pw - v * l.dw;
          if (y < 0 || x < 0 || y % l.sh || x % l.sw || y / l.sh >= l.OH || x / l.sw >= l.OW) continue;
          for (int64_t k = 0; k < channels; ++k) {
            const int64_t o = l.kind == kConv ? k : c, from = (o * l.OH + y / l.sh) * l.OW + x / l.sw;
            if (l.kind == kConv)
              sum += g[from] * double(weight[((o * l.C + c) * l.kh + u) * l.kw + v]);
            else if (maxima[from] == at)
              sum += g[from];
          }
        }
    }
    to[at] = sum;
  }
}

}  // namespace grokfast::cuda
