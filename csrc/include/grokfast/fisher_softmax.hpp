// Softmax and what the Fisher kernels take from it, in double, without a difference of nearly equal numbers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef GROKFAST_ISA
#error "fisher_softmax.hpp is for kernel sources, which are compiled once per instruction set"
#endif

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

// exp(x) for x <= 0, to double's rounding: 2^k times a Taylor series on |r| <= ln(2) / 2. Branch-free, so that loops
// of it become vectors.
inline double exp_negative(double x) {
  constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer in the low bits
  const double clipped = x < -700.0 ? -700.0 : x;
  const double shifted = clipped * 1.4426950408889634 + magic;
  const double k = shifted - magic;
  const double r = (clipped - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
  double y = 1.0 / 6227020800.0;
  y = y * r + 1.0 / 479001600.0;
  y = y * r + 1.0 / 39916800.0;
  y = y * r + 1.0 / 3628800.0;
  y = y * r + 1.0 / 362880.0;
  y = y * r + 1.0 / 40320.0;
  y = y * r + 1.0 / 5040.0;
  y = y * r + 1.0 / 720.0;
  y = y * r + 1.0 / 120.0;
  y = y * r + 1.0 / 24.0;
  y = y * r + 1.0 / 6.0;
  y = y * r + 0.5;
  y = y * r + 1.0;
  y = y * r + 1.0;
  std::uint64_t bits, scale;  // unsigned: the exponent's sign is shifted out
  std::memcpy(&bits, &shifted, sizeof(bits));
  scale = (bits + 1023) << 52;
  double power;
  std::memcpy(&power, &scale, sizeof(power));
  return x < -700.0 ? 0.0 : y * power;
}

// f becomes softmax(f); returns the most probable class.
inline std::int64_t softmax(double* f, std::int64_t classes) {
  std::int64_t mode = 0;
  for (std::int64_t c = 1; c < classes; ++c)
    if (f[c] > f[mode]) mode = c;
  const double top = f[mode];
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t c = 0; c < classes; ++c) {
    f[c] = exp_negative(f[c] - top);
    sum += f[c];
  }
  const double scale = 1.0 / sum;
  for (std::int64_t c = 0; c < classes; ++c) f[c] *= scale;
  return mode;
}

// The sum of all probabilities but one.
inline double others(const double* p, std::int64_t classes, std::int64_t but) {
  double sum = 0.0;
  for (std::int64_t c = 0; c < classes; ++c) sum += c == but ? 0.0 : p[c];
  return sum;
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
