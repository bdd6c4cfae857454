// Loss and gradients of a batch, of convolutions with pooling and then linear layers: one launch, in which a block takes
// a member's batch through all layers and back.
#include "cnn_layers.cuh"
#include "grokfast/training.hpp"

namespace grokfast::cuda {
namespace {

template <typename T, typename X>
__global__ void gradient_kernel(Cnn<T> net, bool with_grad, const X* x, int64_t x_step, const int64_t* labels, T* loss,
                                int64_t* correct, unsigned char* scratch, int64_t each, int64_t E) {
  __shared__ ProductTiles<T> tiles;
  const CnnRoom<T> room(net, scratch + blockIdx.x * each);
  const int64_t N = net.rows;
  for (int64_t e = blockIdx.x; e < E; e += gridDim.x) {
    const auto view = [&](int l) {
      const CnnLayer<T>& layer = net.layers[l];
      const int64_t weights = e * layer.weights(), biases = e * layer.shape.O;
      return CnnView<T>{layer.weight + weights, layer.bias + biases, with_grad ? layer.g_weight + weights : nullptr,
                        with_grad ? layer.g_bias + biases : nullptr};
    };
    const Tally sum = cnn_forward(tiles, net, view, room, N, x + e * x_step, labels + e * N, with_grad);
    if (threadIdx.x == 0) {
      loss[e] = T(sum.loss / N);
      correct[e] = sum.hits;
    }
    if (with_grad) cnn_backward(tiles, net, view, room, N, x + e * x_step);
  }
}

template <typename T>
int gradient(const void* x, bool bytes, int64_t x_step, const int64_t* params, const int64_t* grads,
             const int64_t* spec, const int64_t* labels, T* loss, int64_t* correct, int64_t E, int64_t N, int64_t convs,
             int64_t linears, int64_t C, int64_t height, int64_t width, void* stream) {
  if (convs + linears > kMostLayers) return cudaErrorInvalidValue;
  const Cnn<T> net(params, grads, spec, convs, linears, C, height, width, N);
  const int64_t each = net.bytes(), blocks = blocks_within(E, each);
  const Scratch scratch(blocks * each, stream);
  if (scratch.status() != 0) return scratch.status();
  const auto start = [&](auto kernel) {
    return launch(kernel, {blocks}, kThreads, 0, stream, net, grads != nullptr, x, x_step, labels, loss, correct,
                  scratch.as<unsigned char>(), each, E);
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
