// out[e,h,o,k] = sum_n (sum_l g[e,n,h,o,l] x[e,n,h, base[l] + offset[k]])^2. A block owns a 16 x 16 tile of (o, k) of
// one member and group, moves over samples and, in shared-memory slabs, over positions; the patch is gathered on the
// way into shared memory, so no unfolded array exists.
#include "grokfast/fisher.hpp"
#include "launch.cuh"

namespace grokfast::cuda {
namespace {

constexpr int kTile = 16;
constexpr int kSlab = 32;

template <typename T>
__global__ void fisher_patches_kernel(const T* g, const T* x, const int64_t* base, const int64_t* offset, T* out,
                                      int64_t E, int64_t N, int64_t groups, int64_t O, int64_t L, int64_t K,
                                      int64_t pixels) {
  __shared__ T gs[kSlab][kTile + 1], xs[kSlab][kTile + 1];
  const int column = threadIdx.x % kTile, row = threadIdx.x / kTile;
  const int64_t tiles_k = (K + kTile - 1) / kTile, tiles = (O + kTile - 1) / kTile * tiles_k;
  for (int64_t pair = blockIdx.y; pair < E * groups; pair += gridDim.y)
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const int64_t first_o = tile / tiles_k * kTile, first_k = tile % tiles_k * kTile;
      const int64_t my_o = first_o + row, my_k = first_k + column;
      const int64_t e = pair / groups, h = pair % groups;
      CompensatedSum<T> squares;
      for (int64_t n = 0; n < N; ++n) {
        const int64_t image = (e * N + n) * groups + h;
        const T* gn = g + image * O * L;
        const T* xn = x + image * pixels;
        T sum = T(0);
        for (int64_t first = 0; first < L; first += kSlab) {
          // Neighbouring threads read neighbouring positions of one channel, then of one patch entry.
          for (int item = threadIdx.x; item < kSlab * kTile; item += blockDim.x) {
            const int step = item % kSlab, lane = item / kSlab;
            const int64_t l = first + step;
            gs[step][lane] = l < L && first_o + lane < O ? gn[(first_o + lane) * L + l] : T(0);
            xs[step][lane] = l < L && first_k + lane < K ? xn[base[l] + offset[first_k + lane]] : T(0);
          }
          __syncthreads();
#pragma unroll
          for (int step = 0; step < kSlab; ++step) sum += gs[step][row] * xs[step][column];
          __syncthreads();
        }
        squares.add(sum * sum);
      }
      if (my_o < O && my_k < K) out[(pair * O + my_o) * K + my_k] = squares.total;
    }
}

template <typename T>
int fisher_patches(const T* g, const T* x, const int64_t* base, const int64_t* offset, T* out, int64_t E, int64_t N,
                   int64_t groups, int64_t O, int64_t L, int64_t K, int64_t pixels, void* stream) {
  const int64_t tiles = ((O + kTile - 1) / kTile) * ((K + kTile - 1) / kTile), pairs = E * groups;
  return launch(fisher_patches_kernel<T>, {tiles, pairs}, kTile * kTile, 0, stream, g, x, base, offset, out, E, N,
                groups, O, L, K, pixels);
}

}  // namespace

int fisher_patches_f32(const float* g, const float* x, const int64_t* base, const int64_t* offset, float* out,
                       int64_t E, int64_t N, int64_t groups, int64_t O, int64_t L, int64_t K, int64_t pixels,
                       void* stream) {
  return fisher_patches(g, x, base, offset, out, E, N, groups, O, L, K, pixels, stream);
}
int fisher_patches_f64(const double* g, const double* x, const int64_t* base, const int64_t* offset, double* out,
                       int64_t E, int64_t N, int64_t groups, int64_t O, int64_t L, int64_t K, int64_t pixels,
                       void* stream) {
  return fisher_patches(g, x, base, offset, out, E, N, groups, O, L, K, pixels, stream);
}

}  // namespace grokfast::cuda
