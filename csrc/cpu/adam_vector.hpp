// One vector of parameters through one step of Adam or AdamW, in registers, for kernel sources.
#pragma once

#include <cmath>
#if defined(GROKFAST_ISA_avx512) || defined(GROKFAST_ISA_avx2)
#include <immintrin.h>
#endif

#include "grokfast/simd.hpp"
#include "grokfast/training.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

#if defined(GROKFAST_ISA_avx512)
inline Simd<float>::Vector square_root(Simd<float>::Vector x) { return _mm512_sqrt_ps(x); }
inline Simd<double>::Vector square_root(Simd<double>::Vector x) { return _mm512_sqrt_pd(x); }
#elif defined(GROKFAST_ISA_avx2)
inline Simd<float>::Vector square_root(Simd<float>::Vector x) { return _mm256_sqrt_ps(x); }
inline Simd<double>::Vector square_root(Simd<double>::Vector x) { return _mm256_sqrt_pd(x); }
#else
template <typename Vector>
inline Vector square_root(Vector x) {
  for (std::size_t k = 0; k < sizeof(x) / sizeof(x[0]); ++k) x[k] = std::sqrt(x[k]);
  return x;
}
#endif

// What changes from step to step.
template <typename T>
struct AdamStep {
  T rate;    // lr / (1 - beta1^t)
  T scale2;  // 1 / sqrt(1 - beta2^t)
};

template <typename T>
inline AdamStep<T> adam_step(double lr, double bias_correction1, double bias_correction2) {
  return {static_cast<T>(lr / bias_correction1), static_cast<T>(1 / std::sqrt(bias_correction2))};
}

// What does not, for one member.
template <typename T>
struct AdamRule {
  T keep1, take1, keep2, take2, eps;
  T l2;      // weight decay in the gradient (Adam)
  T shrink;  // 1 - lr * weight decay (AdamW)

  AdamRule(double beta1, double beta2, double epsilon, double lr, double decay, bool decoupled)
      : keep1(static_cast<T>(beta1)), take1(static_cast<T>(1 - beta1)), keep2(static_cast<T>(beta2)),
        take2(static_cast<T>(1 - beta2)), eps(static_cast<T>(epsilon)), l2(decoupled ? T(0) : static_cast<T>(decay)),
        shrink(decoupled ? static_cast<T>(1 - lr * decay) : T(1)) {}

  using Vector = typename Simd<T>::Vector;
  inline void update(Vector& p, Vector& m, Vector& v, Vector g, AdamStep<T> step) const {
    const Vector weight = p * shrink;
    const Vector gradient = g + l2 * weight;
    m = keep1 * m + take1 * gradient;
    v = keep2 * v + take2 * gradient * gradient;
    p = weight - step.rate * m / (square_root(v) * step.scale2 + eps);
  }
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
