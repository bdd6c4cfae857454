// One optimiser step for every member of a stack, in place: one pass over parameter, gradient and moments.
#include <algorithm>
#include <cmath>

#include "grokfast/training.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kChunk = 1 << 14;

template <typename T>
void adam(T* p, const T* g, T* m, T* v, int64_t E, int64_t n, const double* lr, const double* decay,
          const uint8_t* active, const AdamConstants& c, int threads) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  parallel_for(E * chunks, threads, [&](int64_t task) {
    const int64_t e = task / chunks, first = task % chunks * kChunk;
    if (!active[e]) return;
    const int64_t count = std::min(kChunk, n - first), at = e * n + first;
    T* __restrict__ P = p + at;
    T* __restrict__ M = m + at;
    T* __restrict__ V = v + at;
    const T* __restrict__ G = g + at;
    const T keep1 = static_cast<T>(c.beta1), take1 = static_cast<T>(1 - c.beta1);
    const T keep2 = static_cast<T>(c.beta2), take2 = static_cast<T>(1 - c.beta2);
    const T scale2 = static_cast<T>(1 / std::sqrt(c.bias_correction2)), eps = static_cast<T>(c.eps);
    const T step = static_cast<T>(lr[e] / c.bias_correction1);
    const T l2 = c.decoupled ? T(0) : static_cast<T>(decay[e]);
    const T shrink = c.decoupled ? static_cast<T>(1 - lr[e] * decay[e]) : T(1);
    for (int64_t k = 0; k < count; ++k) {
      const T weight = P[k] * shrink;
      const T gradient = G[k] + l2 * weight;
      const T mean = keep1 * M[k] + take1 * gradient;
      const T square = keep2 * V[k] + take2 * gradient * gradient;
      M[k] = mean;
      V[k] = square;
      P[k] = weight - step * mean / (std::sqrt(square) * scale2 + eps);
    }
  });
}

template <typename T>
void sgd(T* p, const T* g, T* velocity, int64_t E, int64_t n, const double* lr, const double* decay,
         const uint8_t* active, double momentum, int threads) {
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  parallel_for(E * chunks, threads, [&](int64_t task) {
    const int64_t e = task / chunks, first = task % chunks * kChunk;
    if (!active[e]) return;
    const int64_t count = std::min(kChunk, n - first), at = e * n + first;
    T* __restrict__ P = p + at;
    T* __restrict__ U = velocity + at;
    const T* __restrict__ G = g + at;
    const T keep = static_cast<T>(momentum), rate = static_cast<T>(lr[e]), l2 = static_cast<T>(decay[e]);
    for (int64_t k = 0; k < count; ++k) {
      const T u = keep * U[k] + (G[k] + l2 * P[k]);
      U[k] = u;
      P[k] -= rate * u;
    }
  });
}

}  // namespace

void adam_f32(float* p, const float* g, float* m, float* v, int64_t E, int64_t n, const double* lr,
              const double* decay, const uint8_t* active, AdamConstants constants, int threads) {
  adam(p, g, m, v, E, n, lr, decay, active, constants, threads);
}
void adam_f64(double* p, const double* g, double* m, double* v, int64_t E, int64_t n, const double* lr,
              const double* decay, const uint8_t* active, AdamConstants constants, int threads) {
  adam(p, g, m, v, E, n, lr, decay, active, constants, threads);
}
void sgd_f32(float* p, const float* g, float* velocity, int64_t E, int64_t n, const double* lr, const double* decay,
             const uint8_t* active, double momentum, int threads) {
  sgd(p, g, velocity, E, n, lr, decay, active, momentum, threads);
}
void sgd_f64(double* p, const double* g, double* velocity, int64_t E, int64_t n, const double* lr, const double* decay,
             const uint8_t* active, double momentum, int threads) {
  sgd(p, g, velocity, E, n, lr, decay, active, momentum, threads);
}

}  // namespace grokfast::GROKFAST_ISA
