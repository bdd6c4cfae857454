// Loss and gradients of small convolutional networks. A task is one member and one range of its samples; it takes some
// vectors of samples at a time through the whole network and back, all of it in the second-level cache.
//
//   convolution, ReLU, pooling    one sample per lane, conv_lanes.hpp
//   fully connected layers        one sample per lane, lane_linear.hpp; their weight gradients by `outer`, products.hpp
//   cross entropy                 cross_entropy_row.hpp
//
// The ranges depend on the number of samples alone and their sums are added in order, so a member's answer does not
// depend on its neighbours or on the number of threads.
#include <algorithm>

#include "cnn_pass.hpp"
#include "grokfast/parallel.hpp"
#include "grokfast/training.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kRangeSamples = 128, kRanges = 4;

template <typename T, typename Input>
void cnn(const Input* x, int64_t x_step, const int64_t* params, const int64_t* grads, const int64_t* spec,
         const int64_t* labels, T* loss, int64_t* correct, int64_t E, int64_t N, int64_t convs, int64_t linears,
         int64_t C, int64_t height, int64_t width, int threads) {
  Network net(spec, convs, linears, N, C, height, width);
  constexpr int64_t L = Simd<T>::lanes;
  const int64_t ranges = std::clamp<int64_t>(N / kRangeSamples, 1, kRanges), blocks = (N + L - 1) / L;
  const int64_t count = 2 * net.layers();
  // Ranges after the first leave their gradients here.
  Buffer<T> partial(grads ? E * (ranges - 1) * net.parameters() : 0);
  Buffer<double> losses(E * ranges);
  Buffer<int64_t> hits(E * ranges);
  const auto gradient_of = [&](int64_t e, int64_t range, int64_t p) {
    return range == 0 ? reinterpret_cast<T*>(grads[p]) + e * net.size(p)
                      : partial.data() + (e * (ranges - 1) + range - 1) * net.parameters() + net.offsets[p];
  };
  parallel_for(E * ranges, threads, [&](int64_t task) {
    static thread_local Scratch<T> scratch;
    static thread_local Buffer<const T*> member;
    static thread_local Buffer<T*> gradients;
    const int64_t e = task / ranges, range = task % ranges;
    member.fit(count);
    gradients.fit(count);
    for (int64_t p = 0; p < count; ++p) {
      member[p] = reinterpret_cast<const T*>(params[p]) + e * net.size(p);
      gradients[p] = grads ? gradient_of(e, range, p) : nullptr;
    }
    Pass<T, Input> pass(net, member.data(), grads ? gradients.data() : nullptr, scratch);
    pass.run(x + e * x_step, labels + e * N, blocks * range / ranges * L,
             std::min(N, blocks * (range + 1) / ranges * L));
    losses[task] = pass.loss;
    hits[task] = pass.hits;
  });
  parallel_for(E, threads, [&](int64_t e) {
    double sum = 0;
    correct[e] = 0;
    for (int64_t range = 0; range < ranges; ++range) {
      sum += losses[e * ranges + range];
      correct[e] += hits[e * ranges + range];
    }
    loss[e] = static_cast<T>(sum / N);
    for (int64_t p = 0; grads && p < count; ++p) {
      T* __restrict__ to = gradient_of(e, 0, p);
      for (int64_t range = 1; range < ranges; ++range) {
        const T* __restrict__ from = gradient_of(e, range, p);
        for (int64_t k = 0; k < net.size(p); ++k) to[k] += from[k];
      }
    }
  });
}

template <typename T>
void cnn_cross_entropy(const void* x, bool bytes, int64_t x_step, const int64_t* params, const int64_t* grads,
                       const int64_t* spec, const int64_t* labels, T* loss, int64_t* correct, int64_t E, int64_t N,
                       int64_t convs, int64_t linears, int64_t C, int64_t height, int64_t width, int threads) {
  if (bytes)
    cnn(static_cast<const std::int8_t*>(x), x_step, params, grads, spec, labels, loss, correct, E, N, convs, linears, C,
        height, width, threads);
  else
    cnn(static_cast<const T*>(x), x_step, params, grads, spec, labels, loss, correct, E, N, convs, linears, C, height,
        width, threads);
}

}  // namespace

void cnn_cross_entropy_f32(const void* x, bool bytes, int64_t x_step, const int64_t* params, const int64_t* grads,
                           const int64_t* spec, const int64_t* labels, float* loss, int64_t* correct, int64_t E,
                           int64_t N, int64_t convs, int64_t linears, int64_t C, int64_t height, int64_t width,
                           int threads) {
  cnn_cross_entropy(x, bytes, x_step, params, grads, spec, labels, loss, correct, E, N, convs, linears, C, height, width,
                    threads);
}
void cnn_cross_entropy_f64(const void* x, bool bytes, int64_t x_step, const int64_t* params, const int64_t* grads,
                           const int64_t* spec, const int64_t* labels, double* loss, int64_t* correct, int64_t E,
                           int64_t N, int64_t convs, int64_t linears, int64_t C, int64_t height, int64_t width,
                           int threads) {
  cnn_cross_entropy(x, bytes, x_step, params, grads, spec, labels, loss, correct, E, N, convs, linears, C, height, width,
                    threads);
}

}  // namespace grokfast::GROKFAST_ISA
