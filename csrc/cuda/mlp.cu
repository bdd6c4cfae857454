// Losses and gradients of a batch, and whole epochs with Adam, of networks with one hidden layer on two-hot pairs: one
// block a member. An epoch is one launch: a member's steps follow each other within its block.
#include "adam.cuh"
#include "grokfast/training.hpp"
#include "mlp_batch.cuh"

namespace grokfast::cuda {
namespace {

// Scratch memory of a block: activations and their gradients [N, H] each, logits [N, C], and a table [2P, H].
int64_t room(int64_t N, int64_t P, int64_t H, int64_t C) { return N * (2 * H + C) + 2 * P * H; }

template <typename T>
__global__ void gradient_kernel(MlpParts<const T> nets, const int64_t* pairs, const int64_t* labels, MlpParts<T> grads,
                                T* loss, int64_t* correct, T* scratch, int64_t each, int64_t E, int64_t N, int64_t P,
                                int64_t H, int64_t C) {
  __shared__ ProductTiles<T> tiles;
  T *h = scratch + blockIdx.x * each, *dh = h + N * H, *d = dh + N * H, *table = d + N * C;
  const bool with_grad = grads.bias2 != nullptr;
  for (int64_t e = blockIdx.x; e < E; e += gridDim.x) {
    const MlpParts<const T> net = nets.member(e, P, H, C);
    const Tally sum = forward(tiles, net, pairs + e * N * 2, labels + e * N, h, d, with_grad, N, P, H, C);
    if (threadIdx.x == 0) {
      loss[e] = T(sum.loss / N);
      correct[e] = sum.hits;
    }
    if (!with_grad) continue;
    const MlpParts<T> to = grads.member(e, P, H, C);
    backward(
        tiles, net.weight, pairs + e * N * 2, h, d, dh, table, N, P, H, C, [&](int64_t k, T g) { to.rows[k] = g; },
        [&](int64_t k, T g) { to.bias1[k] = g; }, [&](int64_t k, T g) { to.weight[k] = g; },
        [&](int64_t k, T g) { to.bias2[k] = g; });
  }
}

template <typename T>
__global__ void epoch_kernel(MlpParts<T> nets, MlpParts<T> means, MlpParts<T> squares, const int64_t* pairs,
                             const int64_t* labels, const double* lr, const double* decay, const uint8_t* active,
                             double* loss, int64_t* correct, uint8_t* status, AdamConstants constants, int64_t step,
                             int64_t batch, T* scratch, int64_t each, int64_t E, int64_t N, int64_t P, int64_t H,
                             int64_t C) {
  __shared__ ProductTiles<T> tiles;
  const int64_t most = batch < N ? batch : N;
  T *h = scratch + blockIdx.x * each, *dh = h + most * H, *d = dh + most * H, *table = d + most * C;
  for (int64_t e = blockIdx.x; e < E; e += gridDim.x) {
    if (!active[e]) continue;
    const MlpParts<T> net = nets.member(e, P, H, C), m = means.member(e, P, H, C), v = squares.member(e, P, H, C);
    double total = 0;
    int64_t hits = 0;
    bool finite = true;
    for (int64_t first = 0, t = step; first < N && finite; first += batch, ++t) {
      const int64_t count = N - first < batch ? N - first : batch;
      const int64_t *own_pairs = pairs + (e * N + first) * 2, *own_labels = labels + e * N + first;
      const MlpParts<const T> seen = {net.rows, net.bias1, net.weight, net.bias2};
      const Tally sum = forward(tiles, seen, own_pairs, own_labels, h, d, true, count, P, H, C);
      total += sum.loss;
      hits += sum.hits;
      finite = T(sum.loss / count) - T(sum.loss / count) == T(0);
      if (!finite) break;  // the member stays as it was before this batch
      const AdamStep<T> adam(constants, 1 - pow(constants.beta1, double(t)), 1 - pow(constants.beta2, double(t)), lr[e],
                             decay[e]);
      backward(
          tiles, net.weight, own_pairs, h, d, dh, table, count, P, H, C,
          [&](int64_t k, T g) { adam(net.rows[k], m.rows[k], v.rows[k], g); },
          [&](int64_t k, T g) { adam(net.bias1[k], m.bias1[k], v.bias1[k], g); },
          [&](int64_t k, T g) { adam(net.weight[k], m.weight[k], v.weight[k], g); },
          [&](int64_t k, T g) { adam(net.bias2[k], m.bias2[k], v.bias2[k], g); });
    }
    if (threadIdx.x == 0) {
      status[e] = finite ? 0 : kStopped;
      if (finite) loss[e] = total / N;
      if (finite) correct[e] = hits;
    }
  }
}

template <typename T>
int gradient(MlpParts<const T> nets, const int64_t* pairs, const int64_t* labels, MlpParts<T> grads, T* loss,
             int64_t* correct, int64_t E, int64_t N, int64_t P, int64_t H, int64_t C, void* stream) {
  const int64_t each = room(N, P, H, C), blocks = blocks_within(E, each * sizeof(T));
  const Scratch scratch(blocks * each * sizeof(T), stream);
  if (scratch.status() != 0) return scratch.status();
  return launch(gradient_kernel<T>, {blocks}, kThreads, 0, stream, nets, pairs, labels, grads, loss, correct,
                scratch.as<T>(), each, E, N, P, H, C);
}

template <typename T>
int epoch(MlpParts<T> nets, const int64_t* moments, const int64_t* pairs, const int64_t* labels, const double* lr,
          const double* decay, const uint8_t* active, double* loss, int64_t* correct, uint8_t* status,
          AdamConstants constants, int64_t step, int64_t batch, int64_t E, int64_t N, int64_t P, int64_t H, int64_t C,
          void* stream) {
  const auto at = [&](int k) { return reinterpret_cast<T*>(moments[k]); };
  const MlpParts<T> means = {at(0), at(1), at(2), at(3)}, squares = {at(4), at(5), at(6), at(7)};
  const int64_t each = room(batch < N ? batch : N, P, H, C), blocks = blocks_within(E, each * sizeof(T));
  const Scratch scratch(blocks * each * sizeof(T), stream);
  if (scratch.status() != 0) return scratch.status();
  return launch(epoch_kernel<T>, {blocks}, kThreads, 0, stream, nets, means, squares, pairs, labels, lr, decay, active,
                loss, correct, status, constants, step, batch, scratch.as<T>(), each, E, N, P, H, C);
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                     \
  int mlp_cross_entropy_##SUFFIX(const T* rows, const T* bias1, const T* weight, const T* bias2, const int64_t* pairs, \
                                 const int64_t* labels, T* g_rows, T* g_bias1, T* g_weight, T* g_bias2, T* loss,       \
                                 int64_t* correct, int64_t E, int64_t N, int64_t P, int64_t H, int64_t C,              \
                                 void* stream) {                                                                       \
    return gradient<T>({rows, bias1, weight, bias2}, pairs, labels, {g_rows, g_bias1, g_weight, g_bias2}, loss,        \
                       correct, E, N, P, H, C, stream);                                                                \
  }                                                                                                                    \
  int mlp_epoch_##SUFFIX(T* rows, T* bias1, T* weight, T* bias2, const int64_t* moments, const int64_t* pairs,         \
                         const int64_t* labels, const double* lr, const double* decay, const uint8_t* active,          \
                         double* loss, int64_t* correct, uint8_t* status, AdamConstants constants, int64_t step,       \
                         int64_t batch, int64_t E, int64_t N, int64_t P, int64_t H, int64_t C, void* stream) {         \
    return epoch<T>({rows, bias1, weight, bias2}, moments, pairs, labels, lr, decay, active, loss, correct, status,    \
                    constants, step, batch, E, N, P, H, C, stream);                                                    \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::cuda
