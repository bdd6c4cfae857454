// out[e,o,i] = sum_n (sum_t g[e,n,t,o] a[e,n,t,i])^2. One thread an output entry; a block covers a 16 x 16 tile of one
// member and moves through the positions of each sample in shared-memory slabs, so every g and a is read once per
// tile. The square is taken after the last slab of a sample.
#include "grokfast/fisher.hpp"
#include "launch.cuh"

namespace grokfast::cuda {
namespace {

constexpr int kTile = 16;
constexpr int kSlab = 32;

template <typename T>
__global__ void fisher_linear_kernel(const T* g, const T* a, T* out, int64_t E, int64_t N, int64_t positions, int64_t O,
                                     int64_t I) {
  __shared__ T gs[kSlab][kTile], as[kSlab][kTile];
  const int x = threadIdx.x % kTile, y = threadIdx.x / kTile;
  const int64_t tiles_i = (I + kTile - 1) / kTile, tiles = (O + kTile - 1) / kTile * tiles_i;
  const int64_t rows = N * positions;
  for (int64_t e = blockIdx.y; e < E; e += gridDim.y)
    for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
      const int64_t first_o = tile / tiles_i * kTile, first_i = tile % tiles_i * kTile;
      const T* ge = g + e * rows * O;
      const T* ae = a + e * rows * I;
      T sum = T(0);
      CompensatedSum<T> squares;
      int64_t left = positions;  // of the current sample
      for (int64_t first = 0; first < rows; first += kSlab) {
        for (int k = y; k < kSlab; k += kTile) {
          const int64_t row = first + k;
          gs[k][x] = row < rows && first_o + x < O ? ge[row * O + first_o + x] : T(0);
          as[k][x] = row < rows && first_i + x < I ? ae[row * I + first_i + x] : T(0);
        }
        __syncthreads();
        const int slab = static_cast<int>(rows - first < kSlab ? rows - first : kSlab);
        for (int k = 0; k < slab; ++k) {
          sum += gs[k][y] * as[k][x];
          if (--left == 0) {
            squares.add(sum * sum);
            sum = T(0);
            left = positions;
          }
        }
        __syncthreads();
      }
      if (first_o + y < O && first_i + x < I) out[(e * O + first_o + y) * I + first_i + x] = squares.total;
    }
}

template <typename T>
int fisher_linear(const T* g, const T* a, T* out, int64_t E, int64_t N, int64_t positions, int64_t O, int64_t I,
                  void* stream) {
  const int64_t tiles = ((O + kTile - 1) / kTile) * ((I + kTile - 1) / kTile);
  return launch(fisher_linear_kernel<T>, {tiles, E}, kTile * kTile, 0, stream, g, a, out, E, N, positions, O, I);
}

}  // namespace

int fisher_linear_f32(const float* g, const float* a, float* out, int64_t E, int64_t N, int64_t positions, int64_t O,
                      int64_t I, void* stream) {
  return fisher_linear(g, a, out, E, N, positions, O, I, stream);
}
int fisher_linear_f64(const double* g, const double* a, double* out, int64_t E, int64_t N, int64_t positions, int64_t O,
                      int64_t I, void* stream) {
  return fisher_linear(g, a, out, E, N, positions, O, I, stream);
}

}  // namespace grokfast::cuda
