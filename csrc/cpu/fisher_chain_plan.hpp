// What all samples of one member share in fisher_chain.cpp: layers, packed weights, and which layers go as one block.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "conv_lanes.hpp"
#include "grokfast/fisher_lanes.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

inline int64_t padded_h(const Layer& k) { return k.height_in + 2 * k.pad_h; }
inline int64_t padded_w(const Layer& k) { return k.width_in + 2 * k.pad_w; }

// What all samples of one member share.
template <typename T>
struct ChainPlan {
  const Layer* layers;
  int64_t depth;
  Array<const T*> parameters;  // by parameter index
  Array<Array<T>> forward, backward;  // packed weights by layer
  Array<int64_t> totals;  // where each layer's sums start in a range's totals; weight, bias
  Array<ConvBlock> blocks;  // of each convolution that goes with its ReLU and 2x2 pooling; kernel 0 elsewhere
  Array<double> reach;      // the most that a block's convolution makes of inputs up to 1
  Array<Array<T>> biases;   // of the blocks
  int64_t total_size = 0;
  int64_t first_parameter;  // no gradient is needed below this layer

  ChainPlan(const Layer* all, int64_t count, const int64_t* addresses, const int64_t* sizes, int64_t parameter_count,
            int64_t e)
      : layers(all), depth(count), forward(count), backward(count), totals(2 * count, -1),
        blocks(count, ConvBlock{0, 0, 0, 0, 0}), reach(count, 0.0), biases(count), first_parameter(count) {
    for (int64_t p = 0; p < parameter_count; ++p)
      parameters.push_back(reinterpret_cast<const T*>(addresses[p]) + e * sizes[p]);
    for (int64_t l = 0; l < depth; ++l) {
      const Layer& k = layers[l];
      if (k.weight < 0) continue;
      first_parameter = std::min(first_parameter, l);
      const T* w = parameters[k.weight];
      const int64_t taps = k.kind == kConv ? k.taps() : 1, inputs = k.kind == kConv ? k.channels_in : k.in_size();
      if (forms_block(l)) {
        prepare_block(l, w);
      } else {
        forward[l] =
            pack_outputs<T>(k.channels, inputs * taps, [=](int64_t o, int64_t i) { return w[o * inputs * taps + i]; });
        // The gradient is a convolution with the mirrored kernel and channels exchanged.
        backward[l] = pack_outputs<T>(inputs, k.channels * taps, [=](int64_t c, int64_t i) {
          return w[(i / taps * inputs + c) * taps + taps - 1 - i % taps];
        });
      }
      const int64_t lanes = k.kind == kConv ? Simd<T>::lanes : 1;
      totals[2 * l] = total_size;
      total_size += k.channels * inputs * taps * lanes;
      if (k.bias >= 0) {
        totals[2 * l + 1] = total_size;
        total_size += k.channels * Simd<T>::lanes;
      }
    }
  }

  bool block_at(int64_t l) const { return l >= 0 && l < depth && blocks[l].kernel > 0; }

 private:
  // Whether layers l, l + 1, l + 2 are a "same" convolution of an even map, ReLU, and max pooling by two.
  bool forms_block(int64_t l) const {
    if (l + 2 >= depth || layers[l].kind != kConv || layers[l + 1].kind != kRelu || layers[l + 2].kind != kMaxPool)
      return false;
    const Layer &k = layers[l], &pool = layers[l + 2];
    return k.kernel_h == k.kernel_w && k.kernel_h % 2 == 1 && k.pad_h == k.kernel_h / 2 && k.pad_w == k.pad_h &&
           k.stride_h == 1 && k.stride_w == 1 && k.dilation_h == 1 && k.dilation_w == 1 && k.height % 2 == 0 &&
           k.width % 2 == 0 && pool.kernel_h == 2 && pool.kernel_w == 2 && pool.stride_h == 2 && pool.stride_w == 2;
  }

  void prepare_block(int64_t l, const T* w) {
    const Layer& k = layers[l];
    const ConvBlock b = blocks[l] = {k.channels_in, k.height, k.width, k.channels, k.kernel_h};
    forward[l].resize(b.weights());
    backward[l].resize(b.weights());
    ConvLanes<T>::pack_weights(w, b, false, forward[l].data());
    ConvLanes<T>::pack_weights(w, b, true, backward[l].data());
    biases[l].resize(b.outputs);
    const int64_t inner = b.weights() / b.outputs;
    for (int64_t o = 0; o < b.outputs; ++o) {
      double sum = 0.0;
      for (int64_t i = 0; i < inner; ++i) sum += std::abs(static_cast<double>(w[o * inner + i]));
      if (k.bias >= 0) biases[l][o] = parameters[k.bias][o];
      sum += std::abs(static_cast<double>(biases[l][o]));
      if (!std::isfinite(sum)) sum = std::numeric_limits<double>::infinity();
      reach[l] = std::max(reach[l], sum);
    }
  }
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
