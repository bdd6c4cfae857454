// Inner products of steps of a trajectory: one block a member, whose threads stride over the parameters; sums in double
// precision and in a fixed order.
#include "grokfast/geometry.hpp"
#include "launch.cuh"

namespace grokfast::cuda {
namespace {

constexpr int kProducts = 5, kWide = 1024;

template <typename T>
__global__ void gram_kernel(const T* before, const T* here, const T* after, const T* metric, const uint8_t* stiff,
                            double* sums, int64_t E, int64_t n) {
  __shared__ double of_warp[kWide / 32][2 * kProducts];
  const int rows = stiff ? 2 : 1;
  for (int64_t e = blockIdx.x; e < E; e += gridDim.x) {
    double mine[2 * kProducts] = {};
    for (int64_t k = e * n + threadIdx.x; k < (e + 1) * n; k += kWide) {
      const double o = -double(here[k]), s = double(after[k]) + o, p = -o - double(before[k]);
      const double g = metric ? double(metric[k]) : 1.0;
      const double products[kProducts] = {g * s * s, g * p * p, g * o * o, g * s * p, g * s * o};
      const bool second = stiff && stiff[k];
#pragma unroll
      for (int q = 0; q < kProducts; ++q) {
        mine[q] += second ? 0.0 : products[q];
        mine[kProducts + q] += second ? products[q] : 0.0;
      }
    }
#pragma unroll
    for (int q = 0; q < 2 * kProducts; ++q) {
      const double sum = warp_sum(mine[q]);
      if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32][q] = sum;
    }
    __syncthreads();
    if (int(threadIdx.x) < rows * kProducts) {
      double all = 0;
      for (int warp = 0; warp < kWide / 32; ++warp) all += of_warp[warp][threadIdx.x];
      sums[e * rows * kProducts + threadIdx.x] += all;
    }
    __syncthreads();
  }
}

template <typename T>
int gram(const T* before, const T* here, const T* after, const T* metric, const uint8_t* stiff, double* sums, int64_t E,
         int64_t n, void* stream) {
  return launch(gram_kernel<T>, {E}, kWide, 0, stream, before, here, after, metric, stiff, sums, E, n);
}

}  // namespace

int metric_gram_f32(const float* before, const float* here, const float* after, const float* metric,
                    const uint8_t* stiff, double* sums, int64_t E, int64_t n, void* stream) {
  return gram(before, here, after, metric, stiff, sums, E, n, stream);
}
int metric_gram_f64(const double* before, const double* here, const double* after, const double* metric,
                    const uint8_t* stiff, double* sums, int64_t E, int64_t n, void* stream) {
  return gram(before, here, after, metric, stiff, sums, E, n, stream);
}

}  // namespace grokfast::cuda
