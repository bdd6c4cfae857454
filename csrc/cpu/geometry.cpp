// Inner products of consecutive steps in a diagonal metric: one pass over three checkpoints, in double precision.
//
// Blocks are summed by themselves and added in order, so that the result does not depend on the number of threads.
#include <algorithm>

#include "grokfast/buffer.hpp"
#include "grokfast/geometry.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kBlock = 1 << 13;
constexpr int kSums = 5;

template <typename T, bool Weighted, bool Split>
void block_sums(const T* __restrict__ before, const T* __restrict__ here, const T* __restrict__ after,
                const T* __restrict__ metric, const uint8_t* __restrict__ stiff, int64_t count, double* out) {
  double ss = 0, pp = 0, oo = 0, sp = 0, so = 0, tss = 0, tpp = 0, too = 0, tsp = 0, tso = 0;
#pragma omp simd reduction(+ : ss, pp, oo, sp, so, tss, tpp, too, tsp, tso)
  for (int64_t k = 0; k < count; ++k) {
    const double o = -static_cast<double>(here[k]);
    const double s = static_cast<double>(after[k]) + o, p = -o - static_cast<double>(before[k]);
    const double g = Weighted ? static_cast<double>(metric[k]) : 1.0;
    const double gs = g * s;
    const double a = gs * s, b = g * p * p, c = g * o * o, d = gs * p, e = gs * o;
    if (Split) {
      const bool mine = stiff[k] != 0;
      tss += mine ? a : 0.0;
      tpp += mine ? b : 0.0;
      too += mine ? c : 0.0;
      tsp += mine ? d : 0.0;
      tso += mine ? e : 0.0;
      ss += mine ? 0.0 : a;
      pp += mine ? 0.0 : b;
      oo += mine ? 0.0 : c;
      sp += mine ? 0.0 : d;
      so += mine ? 0.0 : e;
    } else {
      ss += a;
      pp += b;
      oo += c;
      sp += d;
      so += e;
    }
  }
  const double found[2 * kSums] = {ss, pp, oo, sp, so, tss, tpp, too, tsp, tso};
  std::copy_n(found, Split ? 2 * kSums : kSums, out);
}

template <typename T>
void metric_gram(const T* before, const T* here, const T* after, const T* metric, const uint8_t* stiff, double* sums,
                 int64_t E, int64_t n, int threads) {
  const int64_t blocks = (n + kBlock - 1) / kBlock, width = stiff == nullptr ? kSums : 2 * kSums;
  Buffer<double> parts(E * blocks * width);
  parallel_for(E * blocks, threads, [&](int64_t task) {
    const int64_t e = task / blocks, first = task % blocks * kBlock, at = e * n + first;
    const int64_t count = std::min(kBlock, n - first);
    const T* weights = metric == nullptr ? nullptr : metric + at;
    const uint8_t* marks = stiff == nullptr ? nullptr : stiff + at;
    double* out = parts.data() + task * width;
    if (metric == nullptr)
      stiff == nullptr
          ? block_sums<T, false, false>(before + at, here + at, after + at, weights, marks, count, out)
          : block_sums<T, false, true>(before + at, here + at, after + at, weights, marks, count, out);
    else
      stiff == nullptr
          ? block_sums<T, true, false>(before + at, here + at, after + at, weights, marks, count, out)
          : block_sums<T, true, true>(before + at, here + at, after + at, weights, marks, count, out);
  });
  for (int64_t e = 0; e < E; ++e)
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t k = 0; k < width; ++k) sums[e * width + k] += parts[(e * blocks + b) * width + k];
}

}  // namespace

void metric_gram_f32(const float* before, const float* here, const float* after, const float* metric,
                     const uint8_t* stiff, double* sums, int64_t E, int64_t n, int threads) {
  metric_gram(before, here, after, metric, stiff, sums, E, n, threads);
}
void metric_gram_f64(const double* before, const double* here, const double* after, const double* metric,
                     const uint8_t* stiff, double* sums, int64_t E, int64_t n, int threads) {
  metric_gram(before, here, after, metric, stiff, sums, E, n, threads);
}

}  // namespace grokfast::GROKFAST_ISA
