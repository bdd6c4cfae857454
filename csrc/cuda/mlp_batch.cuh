// A batch through a network with one hidden ReLU layer on two-hot pairs, and back, by one block.
#pragma once

#include "product.cuh"
#include "softmax_row.cuh"

namespace grokfast::cuda {

// One member's parameters, gradients or moments: rows [2P, H], bias1 [H], weight [C, H], bias2 [C].
template <typename T>
struct MlpParts {
  T *rows, *bias1, *weight, *bias2;

  __device__ MlpParts member(int64_t e, int64_t P, int64_t H, int64_t C) const {
    return {rows + e * 2 * P * H, bias1 + e * H, weight + e * C * H, bias2 + e * C};
  }
};

// relu(rows[a] + rows[P + b] + bias1) of hidden unit j.
template <typename T>
__device__ T hidden(const T* rows, const T* bias1, const int64_t* pair, int64_t P, int64_t H, int64_t j) {
  const T z = rows[pair[0] * H + j] + rows[(P + pair[1]) * H + j] + bias1[j];
  return z < T(0) ? T(0) : z;
}

// Hidden activations h [N, H], and from the logits the gradient d [N, C] of the mean loss (logits alone without
// `with_grad`), in scratch memory; the sums of losses and hits.
template <typename T>
__device__ Tally forward(ProductTiles<T>& tiles, const MlpParts<const T>& net, const int64_t* pairs,
                         const int64_t* labels, T* h, T* d, bool with_grad, int64_t N, int64_t P, int64_t H,
                         int64_t C) {
  for (int64_t k = threadIdx.x; k < N * H; k += kThreads)
    h[k] = hidden(net.rows, net.bias1, pairs + 2 * (k / H), P, H, k % H);
  __syncthreads();
  block_product<true, true>(
      tiles, N, C, H, [&](int64_t n, int64_t k) { return h[n * H + k]; },
      [&](int64_t k, int64_t c) { return net.weight[c * H + k]; },
      [&](int64_t n, int64_t c, T sum) { d[n * C + c] = sum + net.bias2[c]; });
  __syncthreads();
  Tally mine = {0, 0};
  for (int64_t n = threadIdx.x / 32; n < N; n += kWarps)
    add_sample(d + n * C, with_grad ? d + n * C : nullptr, C, labels[n], T(1.0 / N), mine);
  return block_sum(mine);
}

// From h and d the gradients of each parameter, in a fixed order: each is handed to take_rows(r * H + j, g),
// take_bias1(j, g), take_weight(c * H + j, g) and take_bias2(c, g) once. h is written over; `table` [2P, H] is scratch
// memory. Parameters may change as they are taken.
template <typename T, typename Rows, typename Bias1, typename Weight, typename Bias2>
__device__ void backward(ProductTiles<T>& tiles, const T* weight, const int64_t* pairs, T* h, const T* d, T* dh,
                         T* table, int64_t N, int64_t P, int64_t H, int64_t C, Rows take_rows, Bias1 take_bias1,
                         Weight take_weight, Bias2 take_bias2) {
  block_product<true, false>(
      tiles, N, H, C, [&](int64_t n, int64_t c) { return d[n * C + c]; },
      [&](int64_t c, int64_t j) { return weight[c * H + j]; },
      [&](int64_t n, int64_t j, T sum) { dh[n * H + j] = h[n * H + j] <= T(0) ? T(0) : sum; });
  __syncthreads();
  block_product<false, false>(
      tiles, C, H, N, [&](int64_t c, int64_t n) { return d[n * C + c]; },
      [&](int64_t n, int64_t j) { return h[n * H + j]; },
      [&](int64_t c, int64_t j, T sum) { take_weight(c * H + j, sum); });
  for (int64_t c = threadIdx.x; c < C; c += kThreads) {
    T sum = T(0);
    for (int64_t n = 0; n < N; ++n) sum += d[n * C + c];
    take_bias2(c, sum);
  }
  // Each thread has columns of its own, and walks the samples in order.
  for (int64_t j = threadIdx.x; j < H; j += kThreads) {
    for (int64_t r = 0; r < 2 * P; ++r) table[r * H + j] = T(0);
    T sum = T(0);
    for (int64_t n = 0; n < N; ++n) {
      const T dz = dh[n * H + j];
      table[pairs[2 * n] * H + j] += dz;
      table[(P + pairs[2 * n + 1]) * H + j] += dz;
      sum += dz;
    }
    for (int64_t r = 0; r < 2 * P; ++r) take_rows(r * H + j, table[r * H + j]);
    take_bias1(j, sum);
  }
  __syncthreads();
}

}  // namespace grokfast::cuda
