// Mean cross entropy per member, correct predictions and gradient. One block a member, one warp a sample; per-warp
// partial sums are added in a fixed order, so the result is the same in every run.
#include "grokfast/training.hpp"
#include "launch.cuh"

namespace grokfast::cuda {
namespace {

constexpr int kWarps = kThreads / 32;
constexpr unsigned kAll = 0xffffffffu;

template <typename T>
__device__ T warp_sum(T x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAll, x, offset);
  return x;
}

template <typename T>
__global__ void cross_entropy_kernel(const T* logits, const int64_t* labels, T* loss, int64_t* correct, T* grad,
                                     int64_t N, int64_t C) {
  __shared__ double losses[kWarps];
  __shared__ int64_t hits[kWarps];
  const int64_t e = blockIdx.x;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const T scale = T(1.0 / N);
  double loss_sum = 0;
  int64_t hit_count = 0;
  for (int64_t n = warp; n < N; n += kWarps) {
    const T* z = logits + (e * N + n) * C;
    T* d = grad ? grad + (e * N + n) * C : nullptr;
    const int64_t label = labels[e * N + n];
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
      const T other = __shfl_xor_sync(kAll, top, offset);
      const int64_t at = __shfl_xor_sync(kAll, where, offset);
      if (other > top || (other == top && at < where)) {
        top = other;
        where = at;
      }
    }
    spoilt = warp_sum(spoilt);
    if (!(spoilt == T(0))) {
      loss_sum += static_cast<double>(spoilt);
      for (int64_t c = lane; d && c < C; c += 32) d[c] = spoilt;
      continue;
    }
    T others = T(0);
    for (int64_t c = lane; c < C; c += 32) others += c == label ? T(0) : exp(z[c] - top);
    others = warp_sum(others);
    const T own = exp(z[label] - top);
    if (d) {
      const T weight = scale / (own + others);
      for (int64_t c = lane; c < C; c += 32) d[c] = c == label ? -others * weight : exp(z[c] - top) * weight;
    }
    const double rest = others;
    loss_sum += z[label] == top ? log1p(rest) : log(own + rest) + (double(top) - double(z[label]));
    hit_count += where == label;
  }
  if (lane == 0) {
    losses[warp] = loss_sum;
    hits[warp] = hit_count;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
    int64_t count = 0;
    for (int k = 0; k < kWarps; ++k) {
      sum += losses[k];
      count += hits[k];
    }
    loss[e] = T(sum / N);
    correct[e] = count;
  }
}

template <typename T>
int cross_entropy(const T* logits, const int64_t* labels, T* loss, int64_t* correct, T* grad, int64_t E, int64_t N,
                  int64_t C, void* stream) {
  if (E == 0) return 0;
  cross_entropy_kernel<<<static_cast<unsigned>(E), kThreads, 0, as_stream(stream)>>>(logits, labels, loss, correct,
                                                                                     grad, N, C);
  return launched();
}

}  // namespace

int cross_entropy_f32(const float* logits, const int64_t* labels, float* loss, int64_t* correct, float* grad,
                      int64_t E, int64_t N, int64_t C, void* stream) {
  return cross_entropy(logits, labels, loss, correct, grad, E, N, C, stream);
}
int cross_entropy_f64(const double* logits, const int64_t* labels, double* loss, int64_t* correct, double* grad,
                      int64_t E, int64_t N, int64_t C, void* stream) {
  return cross_entropy(logits, labels, loss, correct, grad, E, N, C, stream);
}

}  // namespace grokfast::cuda
