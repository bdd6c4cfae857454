// Losses of networks with one hidden layer on two-hot pairs, and of nested ones: one block works on 64 samples of one
// network at a time. Nested networks are evaluated one by one, each parameter that has not arrived being zero.
#include "grokfast/training.hpp"
#include "mlp_batch.cuh"

namespace grokfast::cuda {
namespace {

constexpr int64_t kSamples = 64;

// Parameters as network k has them: all, or those whose arrival is at most k.
template <typename T>
struct Nested {
  MlpParts<const T> net;
  MlpParts<const int32_t> arrival;  // null: all are there
  int64_t k;

  __device__ T row(int64_t at) const { return arrival.bias2 && arrival.rows[at] > k ? T(0) : net.rows[at]; }
  __device__ T bias1(int64_t at) const { return arrival.bias2 && arrival.bias1[at] > k ? T(0) : net.bias1[at]; }
  __device__ T weight(int64_t at) const { return arrival.bias2 && arrival.weight[at] > k ? T(0) : net.weight[at]; }
  __device__ T bias2(int64_t at) const { return arrival.bias2 && arrival.bias2[at] > k ? T(0) : net.bias2[at]; }
};

// Sums of losses and hits over 64 samples each, [E, K, chunks]; scratch has 64 logits [C] a block.
template <typename T>
__global__ void losses_kernel(MlpParts<const T> nets, MlpParts<const int32_t> arrivals, const int64_t* pairs,
                              const int64_t* labels, Tally* sums, T* scratch, int64_t E, int64_t K, int64_t N,
                              int64_t P, int64_t H, int64_t C) {
  __shared__ ProductTiles<T> tiles;
  T* logits = scratch + blockIdx.x * kSamples * C;
  const int64_t chunks = (N + kSamples - 1) / kSamples;
  for (int64_t work = blockIdx.x; work < E * K * chunks; work += gridDim.x) {
    const int64_t first = work % chunks * kSamples, e = work / chunks / K, k = work / chunks % K;
    const int64_t count = N - first < kSamples ? N - first : kSamples;
    const bool nested = arrivals.bias2 != nullptr;  // the others may be empty
    const Nested<T> net = {nets.member(e, P, H, C), nested ? arrivals.member(e, P, H, C) : arrivals, k};
    const int64_t *pair = pairs + (e * N + first) * 2, *label = labels + e * N + first;
    block_product<true, true>(
        tiles, count, C, H,
        [&](int64_t n, int64_t j) {
          const T z = net.row(pair[2 * n] * H + j) + net.row((P + pair[2 * n + 1]) * H + j) + net.bias1(j);
          return z < T(0) ? T(0) : z;
        },
        [&](int64_t j, int64_t c) { return net.weight(c * H + j); },
        [&](int64_t n, int64_t c, T sum) { logits[n * C + c] = sum + net.bias2(c); });
    __syncthreads();
    Tally mine = {0, 0};
    for (int64_t n = threadIdx.x / 32; n < count; n += kWarps)
      add_sample<T>(logits + n * C, nullptr, C, label[n], T(1), mine);
    const Tally sum = block_sum(mine);
    if (threadIdx.x == 0) sums[work] = sum;
  }
}

// Adds up the chunks of each network in order.
template <typename T>
__global__ void total_kernel(const Tally* sums, T* loss, int64_t* correct, int64_t networks, int64_t chunks,
                             int64_t N) {
  for (int64_t k = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; k < networks; k += int64_t(gridDim.x) * blockDim.x) {
    Tally all = {0, 0};
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      all.loss += sums[k * chunks + chunk].loss;
      all.hits += sums[k * chunks + chunk].hits;
    }
    loss[k] = T(all.loss / N);
    correct[k] = all.hits;
  }
}

template <typename T>
int losses(MlpParts<const T> nets, MlpParts<const int32_t> arrivals, const int64_t* pairs, const int64_t* labels,
           T* loss, int64_t* correct, int64_t E, int64_t K, int64_t N, int64_t P, int64_t H, int64_t C, void* stream) {
  const int64_t chunks = (N + kSamples - 1) / kSamples,
                blocks = blocks_within(E * K * chunks, kSamples * C * sizeof(T));
  const int64_t head = E * K * chunks * sizeof(Tally);
  const Scratch scratch(head + blocks * kSamples * C * sizeof(T), stream);
  if (scratch.status() != 0) return scratch.status();
  const int status = launch(losses_kernel<T>, {blocks}, kThreads, 0, stream, nets, arrivals, pairs, labels,
                            scratch.as<Tally>(), scratch.as<T>(head), E, K, N, P, H, C);
  if (status != 0) return status;
  return launch(total_kernel<T>, {blocks_for(E * K)}, kThreads, 0, stream, scratch.as<Tally>(), loss, correct, E * K,
                chunks, N);
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                     \
  int mlp_losses_##SUFFIX(const T* rows, const T* bias1, const T* weight, const T* bias2, const int64_t* pairs,        \
                          const int64_t* labels, T* loss, int64_t* correct, int64_t E, int64_t N, int64_t P,           \
                          int64_t H, int64_t C, void* stream) {                                                        \
    return losses<T>({rows, bias1, weight, bias2}, {}, pairs, labels, loss, correct, E, 1, N, P, H, C, stream);        \
  }                                                                                                                    \
  int mlp_nested_##SUFFIX(const T* rows, const T* bias1, const T* weight, const T* bias2, const int32_t* a_rows,       \
                          const int32_t* a_bias1, const int32_t* a_weight, const int32_t* a_bias2,                     \
                          const int64_t* pairs, const int64_t* labels, T* loss, int64_t* correct, int64_t E,           \
                          int64_t K, int64_t N, int64_t P, int64_t H, int64_t C, void* stream) {                       \
    return losses<T>({rows, bias1, weight, bias2}, {a_rows, a_bias1, a_weight, a_bias2}, pairs, labels, loss, correct, \
                     E, K, N, P, H, C, stream);                                                                        \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::cuda
