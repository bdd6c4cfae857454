// Fisher diagonal of a chain of convolutions, ReLUs, max poolings and linear layers in one pass: a block of samples,
// one per vector lane, goes forward, back once per column of labels, and its squares are taken, all in cache.
//
// A "same" convolution, its ReLU and its 2x2 pooling go as one block (conv_lanes.hpp), other layers one by one.
// Convolution: per-lane sums over positions, squared into per-lane totals. Linear: g^2 is added up over columns and the
// product (g^2)^T (a^2) is made for some hundred samples at once. The samples go in a fixed number of ranges with
// totals of their own, added up in order, so the answer does not depend on the number of threads.
#include <algorithm>

#include "fisher_chain_pass.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kRanges = 4;

template <typename T>
void fisher_chain(const T* x, const int64_t* addresses, const int64_t* sizes, const int64_t* results,
                  const int64_t* spec, const int64_t* labels, int64_t* status, int64_t E, int64_t N, int64_t depth,
                  int64_t parameter_count, int64_t S, int64_t mode, int threads) {
  const Layer* layers = reinterpret_cast<const Layer*>(spec);
  constexpr int64_t L = Simd<T>::lanes;
  const int64_t lane_blocks = panels(N, L), ranges = std::clamp<int64_t>(lane_blocks, 1, kRanges);
  for (int64_t e = 0; e < E; ++e) {
    const ChainPlan<T> plan(layers, depth, addresses, sizes, parameter_count, e);
    Array<Array<T>> totals(ranges);
    Array<int64_t> found(ranges, kGood);
    parallel_for(ranges, threads, [&](int64_t range) {
      const int64_t start = lane_blocks * range / ranges, end = lane_blocks * (range + 1) / ranges;
      ChainPass<T> pass(plan, end - start);
      found[range] =
          pass.run(x, labels == nullptr ? nullptr : labels + e * S * N, N, S, mode, start * L, std::min(N, end * L));
      totals[range] = std::move(pass.total);
    });
    status[e] = kGood;
    for (const int64_t s : found) status[e] = std::max(status[e], s);
    for (int64_t l = 0; l < depth; ++l)
      for (int part = 0; part < 2; ++part) {
        const Layer& k = layers[l];
        const int64_t index = part == 0 ? k.weight : k.bias;
        if (index < 0) continue;
        const int64_t lanes = part == 1 || k.kind == kConv ? L : 1;
        T* to = reinterpret_cast<T*>(results[index]) + e * sizes[index];
        for (int64_t i = 0; i < sizes[index]; ++i) {
          T sum = T(0);
          for (int64_t range = 0; range < ranges; ++range)
            for (int64_t j = 0; j < lanes; ++j) sum += totals[range][plan.totals[2 * l + part] + i * lanes + j];
          to[i] = sum;
        }
      }
  }
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                  \
  void fisher_chain_##SUFFIX(const T* x, const int64_t* addresses, const int64_t* sizes, const int64_t* results,    \
                             const int64_t* spec, const int64_t* labels, int64_t* status, int64_t E, int64_t N,     \
                             int64_t depth, int64_t parameters, int64_t S, int64_t mode, int threads) {             \
    fisher_chain(x, addresses, sizes, results, spec, labels, status, E, N, depth, parameters, S, mode, threads);    \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::GROKFAST_ISA
