// One warp's work on one sample: cross entropy, prediction and gradient of its logits.
#pragma once

#include "grokfast/kernels.hpp"
#include "launch.cuh"

namespace grokfast::cuda {

// What the warps of a block have summed up; lane 0 of each counts.
struct Tally {
  double loss;
  int64_t hits;
};

// Adds sample z [C] to `sum`. d (may be null, or z itself) gets scale * (softmax(z) - one-hot(label)); in all of it NaN
// if a logit is not finite, as the loss is then. All lanes of the warp call it with the same arguments.
template <typename T>
__device__ void add_sample(const T* z, T* d, int64_t C, int64_t label, T scale, Tally& sum) {
  constexpr unsigned all = 0xffffffffu;
  const int lane = threadIdx.x % 32;
  const T at_label = z[label];
  T top = z[0], spoilt = T(0);
  int64_t where = 0;
  for (int64_t c = lane; c < C; c += 32) {
    if (z[c] > top) {
      top = z[c];
      where = c;
    }
    spoilt += z[c] - z[c];
  }
  // The first of equal maxima is the prediction, as torch.argmax has it.
  for (int offset = 16; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(all, top, offset);
    const int64_t at = __shfl_xor_sync(all, where, offset);
    if (other > top || (other == top && at < where)) {
      top = other;
      where = at;
    }
  }
  spoilt = warp_sum(spoilt);
  if (!(spoilt == T(0))) {
    sum.loss += static_cast<double>(spoilt);
    __syncwarp();
    for (int64_t c = lane; d && c < C; c += 32) d[c] = spoilt;
    return;
  }
  T others = T(0);
  for (int64_t c = lane; c < C; c += 32) others += c == label ? T(0) : exp(z[c] - top);
  others = warp_sum(others);
  const T own = exp(at_label - top);
  if (d) {
    __syncwarp();  // every lane has read the logits of others before they are written over
    const T weight = scale / (own + others);
    for (int64_t c = lane; c < C; c += 32) d[c] = c == label ? -others * weight : exp(z[c] - top) * weight;
  }
  const double rest = others;
  sum.loss += at_label == top ? log1p(rest) : log(own + rest) + (double(top) - double(at_label));
  sum.hits += where == label;
}

// The sum of all warps' tallies in a fixed order, in every thread of a block of kThreads.
__device__ inline Tally block_sum(const Tally& mine) {
  __shared__ Tally of_warp[kWarps];
  if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = mine;
  __syncthreads();
  Tally sum = {0, 0};
  for (const Tally& one : of_warp) {
    sum.loss += one.loss;
    sum.hits += one.hits;
  }
  __syncthreads();
  return sum;
}

}  // namespace grokfast::cuda
