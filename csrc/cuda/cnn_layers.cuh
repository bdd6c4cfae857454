// Convolutions with pooling, then linear layers: what a block does with a batch of one member, there and back.
#pragma once

#include "conv_window.cuh"
#include "product.cuh"
#include "softmax_row.cuh"

namespace grokfast::cuda {

constexpr int kMostLayers = 16;

// A layer of all members. A linear one is [O, C] without maps: H = W = k = 1.
template <typename T>
struct CnnLayer {
  T *weight, *bias;
  T *g_weight, *g_bias;  // null where no gradient is wanted
  ConvShape shape;
  int64_t start;        // where its weight, and behind it its bias, begins among a member's parameters
  int64_t out, places;  // where its outputs begin among a block's values, and its winners among those

  __host__ __device__ int64_t weights() const { return shape.O * shape.taps(); }
};

// A layer of one member.
template <typename T>
struct CnnView {
  const T *weight, *bias;
  T *g_weight, *g_bias;
};

template <typename T>
struct Cnn {
  CnnLayer<T> layers[kMostLayers];
  int convs, depth;
  int64_t parameters;              // of a member
  int64_t rows;                    // samples that there is room for
  int64_t values, widest, places;  // all outputs, the most inputs of a layer but the first, all winners

  // From addresses of weight and bias of each layer, and (if not null) of their gradients, and the sizes that
  // training.hpp describes, for batches of at most `rows` samples.
  Cnn(const int64_t* params, const int64_t* grads, const int64_t* spec, int64_t convs_, int64_t linears, int64_t C,
      int64_t height, int64_t width, int64_t rows_)
      : layers(),
        convs(static_cast<int>(convs_)),
        depth(static_cast<int>(convs_ + linears)),
        parameters(0),
        rows(rows_),
        values(0),
        widest(0),
        places(0) {
    const auto at = [](const int64_t* addresses, int k) {
      return addresses ? reinterpret_cast<T*>(addresses[k]) : nullptr;
    };
    ConvShape shape = {C, height, width, 0, 1};
    for (int l = 0; l < depth; ++l) {
      CnnLayer<T>& layer = layers[l];
      layer.weight = at(params, 2 * l), layer.bias = at(params, 2 * l + 1);
      layer.g_weight = at(grads, 2 * l), layer.g_bias = at(grads, 2 * l + 1);
      if (l > 0 && rows * shape.pixels() > widest) widest = rows * shape.pixels();
      const bool linear = l >= convs;
      if (linear) shape = {shape.pixels(), 1, 1, 0, 1};
      shape.O = *spec++;
      if (!linear) shape.k = *spec++;
      layer.shape = shape;
      layer.start = parameters;
      layer.out = values;
      layer.places = places;
      const int64_t outputs = rows * shape.O * (linear ? 1 : shape.windows());
      parameters += layer.weights() + shape.O;
      values += outputs;
      if (!linear) places += outputs;
      shape = {shape.O, linear ? 1 : shape.H / 2, linear ? 1 : shape.W / 2, 0, 1};
    }
  }

  __host__ __device__ int64_t bytes() const { return (sizeof(T) * (values + 2 * widest) + places + 15) / 16 * 16; }
  __device__ int64_t classes() const { return layers[depth - 1].shape.O; }
};

// A block's intermediate results, in scratch memory of Cnn::bytes().
template <typename T>
struct CnnRoom {
  T* values;
  T* buffers[2];
  uint8_t* places;

  __device__ CnnRoom(const Cnn<T>& net, unsigned char* scratch) {
    values = reinterpret_cast<T*>(scratch);
    buffers[0] = values + net.values;
    buffers[1] = buffers[0] + net.widest;
    places = reinterpret_cast<uint8_t*>(buffers[1] + net.widest);
  }
};

// Hidden units let NaN through, as torch's ReLU does.
template <typename T>
__device__ void linear_forward(ProductTiles<T>& tiles, const ConvShape& s, const CnnView<T>& layer, int64_t N,
                               bool last, const T* in, T* out) {
  const int64_t O = s.O, C = s.C;
  block_product<true, true>(
      tiles, N, O, C, [&](int64_t n, int64_t i) { return in[n * C + i]; },
      [&](int64_t i, int64_t o) { return layer.weight[o * C + i]; },
      [&](int64_t n, int64_t o, T sum) {
        const T z = sum + layer.bias[o];
        out[n * O + o] = !last && z < T(0) ? T(0) : z;
      });
}

// d [N, O] is the gradient at its output; that at its input goes to `to` [N, C], 0 where a ReLU let nothing through.
template <typename T>
__device__ void linear_backward(ProductTiles<T>& tiles, const ConvShape& s, const CnnView<T>& layer, int64_t N,
                                bool after_relu, const T* in, const T* d, T* to) {
  const int64_t O = s.O, C = s.C;
  block_product<false, false>(
      tiles, O, C, N, [&](int64_t o, int64_t n) { return d[n * O + o]; },
      [&](int64_t n, int64_t i) { return in[n * C + i]; },
      [&](int64_t o, int64_t i, T sum) { layer.g_weight[o * C + i] = sum; });
  for (int64_t o = threadIdx.x; o < O; o += kThreads) {
    T sum = T(0);
    for (int64_t n = 0; n < N; ++n) sum += d[n * O + o];
    layer.g_bias[o] = sum;
  }
  block_product<true, false>(
      tiles, N, C, O, [&](int64_t n, int64_t o) { return d[n * O + o]; },
      [&](int64_t o, int64_t i) { return layer.weight[o * C + i]; },
      [&](int64_t n, int64_t i, T sum) { to[n * C + i] = after_relu && in[n * C + i] <= T(0) ? T(0) : sum; });
}

template <typename T, typename X>
__device__ void conv_forward(const ConvShape& s, const CnnView<T>& layer, int64_t N, const X* in, T* out,
                             uint8_t* places) {
  for (int64_t at = threadIdx.x; at < N * s.O * s.windows(); at += kThreads) {
    const int64_t o = at / s.windows() % s.O, n = at / s.windows() / s.O;
    out[at] = pooled_value(in + n * s.pixels(), layer.weight + o * s.taps(), layer.bias[o], s, at % s.windows(),
                           places[at]);
  }
}

// A warp adds up one weight's gradient at a time.
template <typename T, typename X>
__device__ void conv_weights(const ConvShape& s, const CnnView<T>& layer, int64_t N, const X* in, const T* d,
                             const uint8_t* places) {
  for (int64_t item = threadIdx.x / 32; item < s.O * (s.taps() + 1); item += kWarps) {
    const int64_t o = item / (s.taps() + 1), tap = item % (s.taps() + 1);
    const T sum = warp_sum(weight_gradient(d, places, in, s, N, o, tap, threadIdx.x % 32, 32));
    if (threadIdx.x % 32 == 0) (tap == s.taps() ? layer.g_bias[o] : layer.g_weight[o * s.taps() + tap]) = sum;
  }
}

template <typename T>
__device__ void conv_inputs(const ConvShape& s, const CnnView<T>& layer, int64_t N, const T* d, const uint8_t* places,
                            T* to) {
  const int64_t maps = s.O * s.windows();
  for (int64_t at = threadIdx.x; at < N * s.pixels(); at += kThreads) {
    const int64_t n = at / s.pixels();
    to[at] = input_gradient(d + n * maps, places + n * maps, layer.weight, s, at % s.pixels());
  }
}

// N samples through all layers, whose parameters view(l) has; logits, or with `with_grad` the gradient of the mean loss
// there, in the last layer's values. The sums of losses and hits.
template <typename T, typename X, typename View>
__device__ Tally cnn_forward(ProductTiles<T>& tiles, const Cnn<T>& net, View view, const CnnRoom<T>& room, int64_t N,
                             const X* pictures, const int64_t* labels, bool with_grad) {
  for (int l = 0; l < net.depth; ++l) {
    const CnnLayer<T>& layer = net.layers[l];
    const T* in = l > 0 ? room.values + net.layers[l - 1].out : nullptr;
    T* out = room.values + layer.out;
    if (l == 0)
      conv_forward(layer.shape, view(l), N, pictures, out, room.places + layer.places);
    else if (l < net.convs)
      conv_forward(layer.shape, view(l), N, in, out, room.places + layer.places);
    else
      linear_forward(tiles, layer.shape, view(l), N, l == net.depth - 1, in, out);
    __syncthreads();
  }
  T* logits = room.values + net.layers[net.depth - 1].out;
  const int64_t C = net.classes();
  Tally mine = {0, 0};
  for (int64_t n = threadIdx.x / 32; n < N; n += kWarps)
    add_sample(logits + n * C, with_grad ? logits + n * C : nullptr, C, labels[n], T(1.0 / N), mine);
  return block_sum(mine);
}

// Back from what cnn_forward left: every parameter's gradient, to where view(l) says.
template <typename T, typename X, typename View>
__device__ void cnn_backward(ProductTiles<T>& tiles, const Cnn<T>& net, View view, const CnnRoom<T>& room, int64_t N,
                             const X* pictures) {
  const T* d = room.values + net.layers[net.depth - 1].out;
  for (int l = net.depth - 1; l >= 0; --l) {
    const CnnLayer<T>& layer = net.layers[l];
    const T* in = l > 0 ? room.values + net.layers[l - 1].out : nullptr;
    T* to = room.buffers[l % 2];  // d, the gradient at its output, is in the other one
    if (l >= net.convs) {
      linear_backward(tiles, layer.shape, view(l), N, l > net.convs, in, d, to);
    } else if (l > 0) {
      conv_weights(layer.shape, view(l), N, in, d, room.places + layer.places);
      conv_inputs(layer.shape, view(l), N, d, room.places + layer.places, to);
    } else {
      conv_weights(layer.shape, view(l), N, pictures, d, room.places + layer.places);
    }
    d = to;
    __syncthreads();
  }
}

}  // namespace grokfast::cuda
