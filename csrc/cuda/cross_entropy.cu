// Mean cross entropy per member, correct predictions and gradient. One block a member, one warp a sample; per-warp
// partial sums are added in a fixed order, so the result is the same in every run.
#include "grokfast/training.hpp"
#include "softmax_row.cuh"

namespace grokfast::cuda {
namespace {

template <typename T>
__global__ void cross_entropy_kernel(const T* logits, const int64_t* labels, T* loss, int64_t* correct, T* grad,
                                     int64_t E, int64_t N, int64_t C) {
  for (int64_t e = blockIdx.x; e < E; e += gridDim.x) {
    Tally mine = {0, 0};
    for (int64_t n = threadIdx.x / 32; n < N; n += kWarps) {
      const int64_t at = (e * N + n) * C;
      add_sample(logits + at, grad ? grad + at : nullptr, C, labels[e * N + n], T(1.0 / N), mine);
    }
    const Tally sum = block_sum(mine);
    if (threadIdx.x == 0) {
      loss[e] = T(sum.loss / N);
      correct[e] = sum.hits;
    }
  }
}

template <typename T>
int cross_entropy(const T* logits, const int64_t* labels, T* loss, int64_t* correct, T* grad, int64_t E, int64_t N,
                  int64_t C, void* stream) {
  return launch(cross_entropy_kernel<T>, {E}, kThreads, 0, stream, logits, labels, loss, correct, grad, E, N, C);
}

}  // namespace

int cross_entropy_f32(const float* logits, const int64_t* labels, float* loss, int64_t* correct, float* grad, int64_t E,
                      int64_t N, int64_t C, void* stream) {
  return cross_entropy(logits, labels, loss, correct, grad, E, N, C, stream);
}
int cross_entropy_f64(const double* logits, const int64_t* labels, double* loss, int64_t* correct, double* grad,
                      int64_t E, int64_t N, int64_t C, void* stream) {
  return cross_entropy(logits, labels, loss, correct, grad, E, N, C, stream);
}

}  // namespace grokfast::cuda
