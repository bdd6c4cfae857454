// Adam's update of one parameter.
#pragma once

#include "grokfast/training.hpp"
#include "launch.cuh"

namespace grokfast::cuda {

// The constants of one member's step.
template <typename T>
struct AdamStep {
  T keep1, take1, keep2, take2, scale2, eps, step, l2, shrink;

  __device__ AdamStep(const AdamConstants& c, double correction1, double correction2, double lr, double decay)
      : keep1(T(c.beta1)),
        take1(T(1 - c.beta1)),
        keep2(T(c.beta2)),
        take2(T(1 - c.beta2)),
        scale2(T(1 / sqrt(correction2))),
        eps(T(c.eps)),
        step(T(lr / correction1)),
        l2(c.decoupled ? T(0) : T(decay)),
        shrink(c.decoupled ? T(1 - lr * decay) : T(1)) {}

  __device__ void operator()(T& p, T& m, T& v, T g) const {
    const T weight = p * shrink;
    const T gradient = g + l2 * weight;
    const T mean = keep1 * m + take1 * gradient;
    const T square = keep2 * v + take2 * gradient * gradient;
    m = mean;
    v = square;
    p = weight - step * mean / (sqrt(square) * scale2 + eps);
  }
};

}  // namespace grokfast::cuda
