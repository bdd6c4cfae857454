// A matrix product by one block, tiled in registers.
#pragma once

#include "launch.cuh"

namespace grokfast::cuda {

// Shared memory of block_product.
template <typename T>
struct ProductTiles {
  static constexpr int kSide = 64, kDepth = 16;
  T a[kDepth][kSide + 1], b[kDepth][kSide + 1];
};

// store(m, n, sum_k a(m, k) b(k, n)) for m < M and n < N, by a block of kThreads. Sums run over k in order, whatever
// the sizes. `Depth` says that neighbouring k, not m or n, of an operand are neighbours in memory.
template <bool DepthA, bool DepthB, typename T, typename A, typename B, typename Store>
__device__ void block_product(ProductTiles<T>& tiles, int64_t M, int64_t N, int64_t K, A a, B b, Store store) {
  constexpr int side = ProductTiles<T>::kSide, depth = ProductTiles<T>::kDepth, each = side / 16;
  const int row = threadIdx.x / 16, column = threadIdx.x % 16;
  for (int64_t m0 = 0; m0 < M; m0 += side)
    for (int64_t n0 = 0; n0 < N; n0 += side) {
      T sums[each][each];
#pragma unroll
      for (int i = 0; i < each; ++i)
#pragma unroll
        for (int j = 0; j < each; ++j) sums[i][j] = T(0);
      for (int64_t k0 = 0; k0 < K; k0 += depth) {
        for (int item = threadIdx.x; item < side * depth; item += kThreads) {
          const int ka = DepthA ? item % depth : item / side, m = DepthA ? item / depth : item % side;
          const int kb = DepthB ? item % depth : item / side, n = DepthB ? item / depth : item % side;
          tiles.a[ka][m] = m0 + m < M && k0 + ka < K ? a(m0 + m, k0 + ka) : T(0);
          tiles.b[kb][n] = n0 + n < N && k0 + kb < K ? b(k0 + kb, n0 + n) : T(0);
        }
        __syncthreads();
        const int steps = static_cast<int>(K - k0 < depth ? K - k0 : depth);
        for (int k = 0; k < steps; ++k)
#pragma unroll
          for (int i = 0; i < each; ++i)
#pragma unroll
            for (int j = 0; j < each; ++j) sums[i][j] += tiles.a[k][row + 16 * i] * tiles.b[k][column + 16 * j];
        __syncthreads();
      }
#pragma unroll
      for (int i = 0; i < each; ++i)
#pragma unroll
        for (int j = 0; j < each; ++j) {
          const int64_t m = m0 + row + 16 * i, n = n0 + column + 16 * j;
          if (m < M && n < N) store(m, n, sums[i][j]);
        }
    }
}

}  // namespace grokfast::cuda
