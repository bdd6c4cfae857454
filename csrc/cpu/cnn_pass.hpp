// One member of a stack of small convolutional networks, forward and back over a range of its samples, for cnn.cpp.
#pragma once

#include <algorithm>
#include <type_traits>

#include "conv_lanes.hpp"
#include "cross_entropy_row.hpp"
#include "grokfast/buffer.hpp"
#include "lane_linear.hpp"
#include "products.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

// What all members share.
struct Network {
  int64_t convs, linears, samples;
  Buffer<ConvBlock> blocks;
  Buffer<int64_t> widths;   // features before each linear layer, and classes
  Buffer<int64_t> offsets;  // where each parameter starts among all of one member's

  // spec: outputs and kernel of each convolution, then outputs of each linear layer.
  Network(const int64_t* spec, int64_t convs, int64_t linears, int64_t N, int64_t C, int64_t height, int64_t width)
      : convs(convs), linears(linears), samples(N), blocks(convs), widths(linears + 1),
        offsets(2 * (convs + linears) + 1) {
    int64_t size = 0;
    const auto place = [&](int64_t layer, int64_t weights, int64_t outputs) {
      offsets[2 * layer] = size;
      offsets[2 * layer + 1] = size + weights;
      size += weights + outputs;
    };
    for (int64_t l = 0; l < convs; ++l, spec += 2) {
      const ConvBlock b = blocks[l] = {C, height, width, spec[0], spec[1]};
      place(l, b.weights(), b.outputs);
      C = b.outputs;
      height = b.pooled_height();
      width = b.pooled_width();
    }
    widths[0] = C * height * width;
    for (int64_t k = 0; k < linears; ++k, ++spec) {
      widths[k + 1] = spec[0];
      place(convs + k, widths[k] * spec[0], spec[0]);
    }
    offsets[2 * (convs + linears)] = size;
  }
  int64_t layers() const { return convs + linears; }
  int64_t parameters() { return offsets[2 * layers()]; }
  int64_t size(int64_t p) { return offsets[p + 1] - offsets[p]; }
  int64_t classes() { return widths[linears]; }
};

// Memory for one task at a time, cut into pieces; it only ever grows.
template <typename T>
struct Scratch {
  Buffer<T> memory;
  Buffer<T*> pieces;
  Buffer<typename ConvLanes<T>::Code> codes;
};

// One member's pass over one range of samples.
template <typename T, typename Input>
struct Pass {
  using S = Simd<T>;
  using A = ConvLanes<T>;
  using Code = typename A::Code;
  static constexpr int64_t L = S::lanes, kVectors = kSamples / L;

  Network& net;
  const T* const* parameters;  // of this member, by parameter
  T* const* gradients;         // null if not wanted
  double loss = 0;
  int64_t hits = 0;

  // Pieces of the scratch memory, by layer.
  T **input, **packed, **mirrored, **full, **total, **activation, **gradient, **bias_total;
  Code* codes;
  T *image, *masked, *even, *rows, *logits, *d, *p;

  Pass(Network& n, const T* const* params, T* const* grads, Scratch<T>& s) : net(n), parameters(params), gradients(grads) {
    const int64_t convs = net.convs, linears = net.linears;
    s.pieces.fit(5 * convs + 3 * (linears + 1));
    T** list = s.pieces.data();
    for (T*** pieces : {&input, &packed, &mirrored, &full, &total}) {
      *pieces = list;
      list += convs;
    }
    for (T*** pieces : {&activation, &gradient, &bias_total}) {
      *pieces = list;
      list += linears + 1;
    }
    s.memory.fit(cut(nullptr));
    cut(s.memory.data());
    int64_t size = 0;
    for (int64_t l = 0; l < convs; ++l) size += kVectors * A::pooled_size(net.blocks[l]);
    s.codes.fit(size);
    codes = s.codes.data();
    prepare();
  }

  // Cut memory into pieces, each on a cache line; returns how much they take.
  int64_t cut(T* memory) {
    int64_t used = 0, largest_pooled = 0, largest_even = 0, widest = 0;
    const auto take = [&](int64_t size) {
      T* piece = memory ? memory + used : nullptr;
      used += (size * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64 / static_cast<int64_t>(sizeof(T));
      return piece;
    };
    for (int64_t l = 0; l < net.convs; ++l) {
      const ConvBlock& b = net.blocks[l];
      input[l] = take(kVectors * A::input_size(b));
      full[l] = take(l > 0 && gradients ? A::full_size(b) : 0);
      packed[l] = take(b.weights());
      mirrored[l] = take(b.weights());
      total[l] = take((b.weights() + b.outputs) * L);
      largest_pooled = std::max(largest_pooled, A::pooled_size(b));
      largest_even = std::max(largest_even, A::even_size(b));
    }
    for (int64_t k = 0; k <= net.linears; ++k) {
      activation[k] = take(net.widths[k] * kSamples);
      gradient[k] = take(net.widths[k] * kSamples);
      bias_total[k] = take(net.widths[k] * L);
      widest = std::max(widest, net.widths[k]);
    }
    image = take(std::is_same_v<T, Input> ? 0 : L * pixels());
    masked = take(largest_pooled);
    even = take(largest_even);
    rows = take(kSamples * widest);
    logits = take(net.classes());
    d = take(net.classes());
    p = take(net.classes());
    return used;
  }

  // Pack weights, clear borders and sums.
  void prepare() {
    for (int64_t l = 0; l < net.convs; ++l) {
      const ConvBlock& b = net.blocks[l];
      A::pack_weights(parameters[2 * l], b, false, packed[l]);
      std::fill_n(input[l], kVectors * A::input_size(b), T(0));
      if (!gradients) continue;
      std::fill_n(total[l], (b.weights() + b.outputs) * L, T(0));
      if (l == 0) continue;
      A::pack_weights(parameters[2 * l], b, true, mirrored[l]);
      std::fill_n(full[l], A::full_size(b), T(0));
    }
    for (int64_t k = 0; k <= net.linears; ++k) std::fill_n(bias_total[k], net.widths[k] * L, T(0));
  }

  T* input_of(int64_t l, int64_t v) { return input[l] + v * A::input_size(net.blocks[l]); }
  Code* codes_of(int64_t l, int64_t v) {
    Code* at = codes;
    for (int64_t k = 0; k < l; ++k) at += kVectors * A::pooled_size(net.blocks[k]);
    return at + v * A::pooled_size(net.blocks[l]);
  }
  // The last pooled map as the first linear layer has it.
  LaneMap<T> flat(T* features, int64_t v) {
    const ConvBlock& b = net.blocks[net.convs - 1];
    return {features + v * L, b.pooled() * kSamples, b.pooled_width() * kSamples, kSamples};
  }

  int64_t pixels() const { return net.blocks[0].channels * net.blocks[0].height * net.blocks[0].width; }

  const T* as_numbers(const T* x, int64_t) { return x; }
  const T* as_numbers(const std::int8_t* __restrict__ x, int64_t samples) {
    T* __restrict__ to = image;
    for (int64_t k = 0; k < samples * pixels(); ++k) to[k] = static_cast<T>(x[k]);
    return to;
  }

  // Samples to lanes, and through the convolutions. The next vector's samples are asked for meanwhile.
  void convolve(const Input* x, int64_t samples, int64_t next, int64_t v) {
    const char* ahead = reinterpret_cast<const char*>(x + samples * pixels());
    for (int64_t k = 0; k < next * pixels() * static_cast<int64_t>(sizeof(Input)); k += 64)
      __builtin_prefetch(ahead + k, 0, 2);
    const ConvBlock& first = net.blocks[0];
    pack_lanes(as_numbers(x, samples), samples, first.channels, first.height, first.width,
               A::inside(first, input_of(0, v)));
    for (int64_t l = 0; l < net.convs; ++l) {
      const ConvBlock& b = net.blocks[l];
      const LaneMap<T> out = l + 1 < net.convs ? A::inside(net.blocks[l + 1], input_of(l + 1, v)) : flat(activation[0], v);
      const T* bias = parameters[2 * l + 1];
      if (gradients)
        A::template forward<true>(input_of(l, v), b, packed[l], bias, out, codes_of(l, v));
      else
        A::template forward<false>(input_of(l, v), b, packed[l], bias, out, nullptr);
    }
  }

  void cross_entropy(const int64_t* labels, int64_t samples, int64_t vectors) {
    const int64_t C = net.classes();
    const T* z = activation[net.linears];
    T* g = gradient[net.linears];
    for (int64_t n = 0; n < vectors * L; ++n) {
      if (n < samples) {
        for (int64_t c = 0; c < C; ++c) logits[c] = z[c * kSamples + n];
        bool hit = false;
        loss += row_loss(logits, labels[n], C, gradients ? d : nullptr, static_cast<T>(1.0 / net.samples), p, &hit);
        hits += hit;
      }
      for (int64_t c = 0; gradients && c < C; ++c) g[c * kSamples + n] = n < samples ? d[c] : T(0);
    }
  }

  void linears_back(int64_t vectors, bool first) {
    for (int64_t k = net.linears - 1; k >= 0; --k) {
      const int64_t inputs = net.widths[k], outputs = net.widths[k + 1], at = 2 * (net.convs + k);
      const T* g = gradient[k + 1];
      for (int64_t v = 0; v < vectors; ++v)
        unpack_lanes<T>({activation[k] + v * L, 0, 0, kSamples}, L, 1, 1, inputs, rows + v * L * inputs);
      outer(g, kSamples, 1, rows, outputs, vectors * L, gradients[at], inputs, !first);
      for (int64_t o = 0; o < outputs; ++o) {
        T* to = bias_total[k + 1] + o * L;
        typename S::Vector sum = S::load(to);
        for (int64_t v = 0; v < vectors; ++v) sum += S::load(g + o * kSamples + v * L);
        S::store(to, sum);
      }
      linear<T>({parameters[at], 1, inputs}, nullptr, g, outputs, gradient[k], inputs, vectors, false);
      if (k > 0) mask_by(activation[k], gradient[k], inputs);
    }
  }

  void convolve_back(int64_t v) {
    const LaneMap<T> last = flat(gradient[0], v);
    LaneMap<const T> g = {last.start, last.channel, last.row, last.pixel};
    for (int64_t l = net.convs - 1; l >= 0; --l) {
      const ConvBlock& b = net.blocks[l];
      A::mask_gradient(g, b, codes_of(l, v), masked, total[l] + b.weights() * L);
      A::weight_gradient(input_of(l, v), masked, codes_of(l, v), b, total[l]);
      if (l == 0) break;
      A::spread(masked, codes_of(l, v), b, full[l]);
      const LaneMap<T> below = A::even_map(b, even);
      A::input_gradient(full[l], b, mirrored[l], below);
      g = {below.start, below.channel, below.row, below.pixel};
    }
  }

  void run(const Input* x, const int64_t* labels, int64_t first, int64_t last) {
    for (int64_t n0 = first; n0 < last; n0 += kSamples) {
      const int64_t samples = std::min(kSamples, last - n0), vectors = (samples + L - 1) / L;
      for (int64_t v = 0; v < vectors; ++v) {
        const int64_t n = n0 + v * L;
        convolve(x + n * pixels(), std::min(L, last - n), std::clamp<int64_t>(last - n - L, 0, L), v);
      }
      for (int64_t k = 0; k < net.linears; ++k) {
        const int64_t at = 2 * (net.convs + k), inputs = net.widths[k];
        linear<T>({parameters[at], inputs, 1}, parameters[at + 1], activation[k], inputs, activation[k + 1],
                  net.widths[k + 1], vectors, k + 1 < net.linears);
      }
      cross_entropy(labels + n0, samples, vectors);
      if (!gradients) continue;
      linears_back(vectors, n0 == first);
      for (int64_t v = 0; v < vectors; ++v) convolve_back(v);
    }
    if (gradients) finish();
  }

  // Sums over lanes.
  void finish() {
    for (int64_t l = 0; l < net.convs; ++l) {
      const int64_t weights = net.blocks[l].weights();
      for (int64_t k = 0; k < weights; ++k) gradients[2 * l][k] = sum_lanes<T>(S::load(total[l] + k * L));
      for (int64_t o = 0; o < net.blocks[l].outputs; ++o)
        gradients[2 * l + 1][o] = sum_lanes<T>(S::load(total[l] + (weights + o) * L));
    }
    for (int64_t k = 0; k < net.linears; ++k)
      for (int64_t o = 0; o < net.widths[k + 1]; ++o)
        gradients[2 * (net.convs + k) + 1][o] = sum_lanes<T>(S::load(bias_total[k + 1] + o * L));
  }
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
