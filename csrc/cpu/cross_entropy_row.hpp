// The cross entropy of one row of logits, for kernel sources.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace grokfast::GROKFAST_ISA {
namespace {

using std::int64_t;

// exp(x) for x <= 0 in float: 2^k times a degree-6 polynomial on [-ln2/2, ln2/2] (Cephes); below -87.3 the true
// result is a denormal and 0 is returned. Relative error at most 2 units in the last place.
inline float exp_nonpositive(float x) {
  const float clamped = x < -87.3f ? -87.3f : x;
  const float k = std::nearbyint(clamped * 1.44269504088896341f);
  const float r = (clamped - k * 0.693359375f) - k * -2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * r * r + r + 1.0f;
  const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<std::int32_t>(k) + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  return x < -87.3f ? 0.0f : y * scale;
}
inline double exp_nonpositive(double x) { return std::exp(x); }

// -log softmax(z)[label] of one row; `grad` (or null) receives (softmax - onehot) * scale. `p` is scratch of length C.
template <typename T>
inline double row_loss(const T* __restrict__ z, int64_t label, int64_t C, T* __restrict__ grad, T scale,
                       T* __restrict__ p, bool* hit) {
  T top = z[0], spoilt = 0;
#pragma omp simd reduction(max : top) reduction(+ : spoilt)
  for (int64_t c = 0; c < C; ++c) {
    top = z[c] > top ? z[c] : top;
    spoilt += z[c] - z[c];  // NaN if any logit is infinite or NaN
  }
  if (!(spoilt == T(0))) {
    constexpr T nan = std::numeric_limits<T>::quiet_NaN();
    *hit = false;
    if (grad) std::fill_n(grad, C, nan);
    return nan;
  }
#pragma omp simd
  for (int64_t c = 0; c < C; ++c) p[c] = exp_nonpositive(z[c] - top);
  const T own = p[label];
  p[label] = 0;
  T others = 0;
#pragma omp simd reduction(+ : others)
  for (int64_t c = 0; c < C; ++c) others += p[c];
  // The first of equal maxima is the prediction, as torch.argmax has it.
  *hit = z[label] == top;
  for (int64_t c = 0; *hit && c < label; ++c) *hit = z[c] != top;
  if (grad) {
    const T weight = scale / (own + others);
#pragma omp simd
    for (int64_t c = 0; c < C; ++c) grad[c] = p[c] * weight;
    grad[label] = -others * weight;  // p - 1 without its cancellation
  }
  const double rest = others;
  return z[label] == top ? std::log1p(rest) : std::log(own + rest) + (static_cast<double>(top) - z[label]);
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
