// Loss and gradients of a batch, of convolutions with pooling and then linear layers: one launch, in which a block takes
// a member's batch through all layers and back.
#include "conv_window.cuh"
#include "grokfast/training.hpp"
#include "product.cuh"
#include "softmax_row.cuh"

namespace grokfast::cuda {
namespace {

constexpr int kMostLayers = 16;

// A layer of all members. A linear one is [O, C] without maps: H = W = k = 1.
template <typename T>
struct CnnLayer {
  const T *weight, *bias;
  T *g_weight, *g_bias;  // null where no gradient is wanted
  ConvShape shape;
  int64_t out, places;  // where its outputs begin among a block's values, and its winners among those
};

template <typename T>
struct Cnn {
  CnnLayer<T> layers[kMostLayers];
  int convs, depth;
  bool with_grad;
  int64_t N, x_step;
  int64_t values, widest, places;  // all outputs, the most inputs of a layer but the first, all winners

  int64_t bytes() const { return (sizeof(T) * (values + 2 * widest) + places + 15) / 16 * 16; }
};

// Hidden units let NaN through, as torch's ReLU does.
template <typename T>
__device__ void linear_forward(ProductTiles<T>& tiles, const CnnLayer<T>& layer, int64_t e, int64_t N, bool last,
                               const T* in, T* out) {
  const int64_t O = layer.shape.O, C = layer.shape.C;
  const T *weight = layer.weight + e * O * C, *bias = layer.bias + e * O;
  block_product<true, true>(
      tiles, N, O, C, [&](int64_t n, int64_t i) { return in[n * C + i]; },
      [&](int64_t i, int64_t o) { return weight[o * C + i]; },
      [&](int64_t n, int64_t o, T sum) {
        const T z = sum + bias[o];
        out[n * O + o] = !last && z < T(0) ? T(0) : z;
      });
}

// d [N, O] is the gradient at its output; that at its input goes to `to` [N, C], 0 where a ReLU let nothing through.
template <typename T>
__device__ void linear_backward(ProductTiles<T>& tiles, const CnnLayer<T>& layer, int64_t e, int64_t N, bool after_relu,
                                const T* in, const T* d, T* to) {
  const int64_t O = layer.shape.O, C = layer.shape.C;
  const T* weight = layer.weight + e * O * C;
  T *g_weight = layer.g_weight + e * O * C, *g_bias = layer.g_bias + e * O;
  block_product<false, false>(
      tiles, O, C, N, [&](int64_t o, int64_t n) { return d[n * O + o]; },
      [&](int64_t n, int64_t i) { return in[n * C + i]; },
      [&](int64_t o, int64_t i, T sum) { g_weight[o * C + i] = sum; });
  for (int64_t o = threadIdx.x; o < O; o += kThreads) {
    T sum = T(0);
    for (int64_t n = 0; n < N; ++n) sum += d[n * O + o];
    g_bias[o] = sum;
  }
  block_product<true, false>(
      tiles, N, C, O, [&](int64_t n, int64_t o) { return d[n * O + o]; },
      [&](int64_t o, int64_t i) { return weight[o * C + i]; },
      [&](int64_t n, int64_t i, T sum) { to[n * C + i] = after_relu && in[n * C + i] <= T(0) ? T(0) : sum; });
}

template <typename T, typename X>
__device__ void conv_forward(const CnnLayer<T>& layer, int64_t e, int64_t N, const X* in, T* out, uint8_t* places) {
  const ConvShape& s = layer.shape;
  for (int64_t at = threadIdx.x; at < N * s.O * s.windows(); at += kThreads) {
    const int64_t o = at / s.windows() % s.O, n = at / s.windows() / s.O;
    out[at] = pooled_value(in + n * s.pixels(), layer.weight + (e * s.O + o) * s.taps(), layer.bias[e * s.O + o], s,
                           at % s.windows(), places[at]);
  }
}

// A warp adds up one weight's gradient at a time.
template <typename T, typename X>
__device__ void conv_weights(const CnnLayer<T>& layer, int64_t e, int64_t N, const X* in, const T* d,
                             const uint8_t* places) {
  const ConvShape& s = layer.shape;
  for (int64_t item = threadIdx.x / 32; item < s.O * (s.taps() + 1); item += kWarps) {
    const int64_t o = item / (s.taps() + 1), tap = item % (s.taps() + 1);
    const T sum = warp_sum(weight_gradient(d, places, in, s, N, o, tap, threadIdx.x % 32, 32));
    if (threadIdx.x % 32 == 0)
      (tap == s.taps() ? layer.g_bias[e * s.O + o] : layer.g_weight[(e * s.O + o) * s.taps() + tap]) = sum;
  }
}

template <typename T>
__device__ void conv_inputs(const CnnLayer<T>& layer, int64_t e, int64_t N, const T* d, const uint8_t* places, T* to) {
  const ConvShape& s = layer.shape;
  const int64_t maps = s.O * s.windows();
  for (int64_t at = threadIdx.x; at < N * s.pixels(); at += kThreads) {
    const int64_t n = at / s.pixels();
    to[at] = input_gradient(d + n * maps, places + n * maps, layer.weight + e * s.O * s.taps(), s, at % s.pixels());
  }
}

template <typename T, typename X>
__global__ void gradient_kernel(Cnn<T> net, const X* x, const int64_t* labels, T* loss, int64_t* correct,
                                unsigned char* scratch, int64_t each, int64_t E) {
  __shared__ ProductTiles<T> tiles;
  T* values = reinterpret_cast<T*>(scratch + blockIdx.x * each);
  T* buffers[2] = {values + net.values, values + net.values + net.widest};
  uint8_t* places = reinterpret_cast<uint8_t*>(buffers[1] + net.widest);
  const auto input_of = [&](int l) { return values + net.layers[l - 1].out; };
  const int64_t N = net.N, C = net.layers[net.depth - 1].shape.O;
  for (int64_t e = blockIdx.x; e < E; e += gridDim.x) {
    const X* pictures = x + e * net.x_step;
    for (int l = 0; l < net.depth; ++l) {
      const CnnLayer<T>& layer = net.layers[l];
      T* out = values + layer.out;
      if (l == 0)
        conv_forward(layer, e, N, pictures, out, places + layer.places);
      else if (l < net.convs)
        conv_forward(layer, e, N, input_of(l), out, places + layer.places);
      else
        linear_forward(tiles, layer, e, N, l == net.depth - 1, input_of(l), out);
      __syncthreads();
    }
    T* logits = values + net.layers[net.depth - 1].out;
    Tally mine = {0, 0};
    for (int64_t n = threadIdx.x / 32; n < N; n += kWarps)
      add_sample(logits + n * C, net.with_grad ? logits + n * C : nullptr, C, labels[e * N + n], T(1.0 / N), mine);
    const Tally sum = block_sum(mine);
    if (threadIdx.x == 0) {
      loss[e] = T(sum.loss / N);
      correct[e] = sum.hits;
    }
    const T* d = logits;
    for (int l = net.depth - 1; net.with_grad && l >= 0; --l) {
      const CnnLayer<T>& layer = net.layers[l];
      T* to = buffers[l % 2];  // d, the gradient at its output, is in the other one
      if (l >= net.convs) {
        linear_backward(tiles, layer, e, N, l > net.convs, input_of(l), d, to);
      } else if (l > 0) {
        conv_weights(layer, e, N, input_of(l), d, places + layer.places);
        conv_inputs(layer, e, N, d, places + layer.places, to);
      } else {
        conv_weights(layer, e, N, pictures, d, places + layer.places);
      }
      d = to;
      __syncthreads();
    }
  }
}

template <typename T>
int gradient(const void* x, bool bytes, int64_t x_step, const int64_t* params, const int64_t* grads,
             const int64_t* spec, const int64_t* labels, T* loss, int64_t* correct, int64_t E, int64_t N, int64_t convs,
             int64_t linears, int64_t C, int64_t height, int64_t width, void* stream) {
  if (convs + linears > kMostLayers) return cudaErrorInvalidValue;
  Cnn<T> net = {};
  net.convs = static_cast<int>(convs);
  net.depth = static_cast<int>(convs + linears);
  net.with_grad = grads != nullptr;
  net.N = N;
  net.x_step = x_step;
  ConvShape shape = {C, height, width, 0, 1};
  for (int l = 0; l < net.depth; ++l) {
    CnnLayer<T>& layer = net.layers[l];
    layer.weight = reinterpret_cast<const T*>(params[2 * l]);
    layer.bias = reinterpret_cast<const T*>(params[2 * l + 1]);
    layer.g_weight = grads ? reinterpret_cast<T*>(grads[2 * l]) : nullptr;
    layer.g_bias = grads ? reinterpret_cast<T*>(grads[2 * l + 1]) : nullptr;
    if (l > 0 && N * shape.pixels() > net.widest) net.widest = N * shape.pixels();
    const bool linear = l >= convs;
    if (linear) shape = {shape.pixels(), 1, 1, 0, 1};
    shape.O = *spec++;
    if (!linear) shape.k = *spec++;
    layer.shape = shape;
    layer.out = net.values;
    layer.places = net.places;
    const int64_t outputs = N * shape.O * (linear ? 1 : shape.windows());
    net.values += outputs;
    if (!linear) net.places += outputs;
    shape = {shape.O, linear ? 1 : shape.H / 2, linear ? 1 : shape.W / 2, 0, 1};
  }
  const int64_t each = net.bytes(), blocks = blocks_within(E, each);
  const Scratch scratch(blocks * each, stream);
  if (scratch.status() != 0) return scratch.status();
  const auto start = [&](auto kernel) {
    return launch(kernel, {blocks}, kThreads, 0, stream, net, x, labels, loss, correct, scratch.as<unsigned char>(),
                  each, E);
  };
  return bytes ? start(gradient_kernel<T, int8_t>) : start(gradient_kernel<T, T>);
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                     \
  int cnn_cross_entropy_##SUFFIX(const void* x, bool bytes, int64_t x_step, const int64_t* params,                     \
                                 const int64_t* grads, const int64_t* spec, const int64_t* labels, T* loss,            \
                                 int64_t* correct, int64_t E, int64_t N, int64_t convs, int64_t linears, int64_t C,    \
                                 int64_t height, int64_t width, void* stream) {                                        \
    return gradient(x, bytes, x_step, params, grads, spec, labels, loss, correct, E, N, convs, linears, C, height,     \
                    width, stream);                                                                                    \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::cuda
