// out[e,o,i] = sum_n (sum_t g[e,n,t,o] a[e,n,t,i])^2, no array of size N x O x I anywhere.
//
// A task owns a strip of output rows of one member. It walks the samples in blocks that fit in the second-level
// cache; within a block each tile of rows x vectors keeps the sum over positions and the sum of squares in
// registers. Block sums are added up at the end of each block, which bounds the rounding error by the number of blocks
// plus the block length, not by N.
#include <algorithm>
#include <vector>

#include "grokfast/fisher.hpp"
#include "grokfast/parallel.hpp"
#include "grokfast/simd.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int kTileRows = 4;
constexpr int kTileVectors = 2;
constexpr int64_t kStripRows = 32;
constexpr int64_t kBlockBytes = 1 << 18;

template <typename T, int Rows>
inline void tile(const T* g, const T* a, T* out, int64_t samples, int64_t positions, int64_t O, int64_t stride) {
  using S = Simd<T>;
  typename S::Vector total[Rows][kTileVectors] = {};
  for (int64_t n = 0; n < samples; ++n) {
    typename S::Vector sum[Rows][kTileVectors] = {};
    for (int64_t t = 0; t < positions; ++t) {
      const T* row = a + (n * positions + t) * stride;
      typename S::Vector x[kTileVectors];
      for (int k = 0; k < kTileVectors; ++k) x[k] = S::load(row + k * S::lanes);
      for (int r = 0; r < Rows; ++r) {
        const T weight = g[(n * positions + t) * O + r];
        for (int k = 0; k < kTileVectors; ++k) sum[r][k] += weight * x[k];
      }
    }
    for (int r = 0; r < Rows; ++r)
      for (int k = 0; k < kTileVectors; ++k) total[r][k] += sum[r][k] * sum[r][k];
  }
  for (int r = 0; r < Rows; ++r)
    for (int k = 0; k < kTileVectors; ++k) {
      T* to = out + r * stride + k * S::lanes;
      S::store(to, S::load(to) + total[r][k]);
    }
}

template <typename T>
void strip(const T* g, const T* a, T* out, int64_t N, int64_t positions, int64_t O, int64_t I, int64_t rows) {
  constexpr int64_t width = kTileVectors * Simd<T>::lanes;
  const int64_t stride = (I + width - 1) / width * width;
  const int64_t sample_bytes = std::max<int64_t>(1, positions * stride * static_cast<int64_t>(sizeof(T)));
  const int64_t block = std::clamp<int64_t>(kBlockBytes / sample_bytes, 1, 256);
  std::vector<T> packed(static_cast<size_t>(std::min(block, N) * positions * stride), T(0));
  std::vector<T> sums(static_cast<size_t>(rows * stride), T(0));
  for (int64_t first = 0; first < N; first += block) {
    const int64_t samples = std::min(block, N - first);
    for (int64_t k = 0; k < samples * positions; ++k)
      std::copy_n(a + (first * positions + k) * I, I, packed.data() + k * stride);
    const T* block_g = g + first * positions * O;
    for (int64_t o = 0; o < rows; o += kTileRows)
      for (int64_t i = 0; i < stride; i += width) {
        T* to = sums.data() + o * stride + i;
        switch (std::min<int64_t>(kTileRows, rows - o)) {
          case 4: tile<T, 4>(block_g + o, packed.data() + i, to, samples, positions, O, stride); break;
          case 3: tile<T, 3>(block_g + o, packed.data() + i, to, samples, positions, O, stride); break;
          case 2: tile<T, 2>(block_g + o, packed.data() + i, to, samples, positions, O, stride); break;
          default: tile<T, 1>(block_g + o, packed.data() + i, to, samples, positions, O, stride);
        }
      }
  }
  for (int64_t o = 0; o < rows; ++o) std::copy_n(sums.data() + o * stride, I, out + o * I);
}

template <typename T>
void fisher_linear(const T* g, const T* a, T* out, int64_t E, int64_t N, int64_t positions, int64_t O, int64_t I,
                   int threads) {
  const int64_t strips = (O + kStripRows - 1) / kStripRows;
  parallel_for(E * strips, threads, [&](int64_t task) {
    const int64_t e = task / strips, o = task % strips * kStripRows;
    strip(g + e * N * positions * O + o, a + e * N * positions * I, out + (e * O + o) * I, N, positions, O, I,
          std::min(kStripRows, O - o));
  });
}

}  // namespace

void fisher_linear_f32(const float* g, const float* a, float* out, int64_t E, int64_t N, int64_t positions, int64_t O,
                       int64_t I, int threads) {
  fisher_linear(g, a, out, E, N, positions, O, I, threads);
}
void fisher_linear_f64(const double* g, const double* a, double* out, int64_t E, int64_t N, int64_t positions,
                       int64_t O, int64_t I, int threads) {
  fisher_linear(g, a, out, E, N, positions, O, I, threads);
}

}  // namespace grokfast::GROKFAST_ISA
