// Positions of what is not zero, for kernel sources that sum over active hidden units only.
#pragma once

#include <cstdint>
#if defined(GROKFAST_ISA_avx512) || defined(GROKFAST_ISA_avx2)
#include <immintrin.h>
#endif

#include "grokfast/simd.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

using std::int32_t;
using std::int64_t;

constexpr int kWord = 64;       // values whose bits fill a word
constexpr int kListSlack = 16;  // entries that `append` may write past the end of a list

// Which of a vector's values are not zero (NaN is not), as bits.
#if defined(GROKFAST_ISA_avx512)
inline unsigned nonzero(const float* x) {
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_setzero_ps(), _CMP_NEQ_UQ);
}
inline unsigned nonzero(const double* x) {
  return _mm512_cmp_pd_mask(_mm512_loadu_pd(x), _mm512_setzero_pd(), _CMP_NEQ_UQ);
}
#elif defined(GROKFAST_ISA_avx2)
inline unsigned nonzero(const float* x) {
  return _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x), _mm256_setzero_ps(), _CMP_NEQ_UQ));
}
inline unsigned nonzero(const double* x) {
  return _mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(x), _mm256_setzero_pd(), _CMP_NEQ_UQ));
}
#else
template <typename T>
inline unsigned nonzero(const T* x) {
  unsigned bits = 0;
  for (int k = 0; k < Simd<T>::lanes; ++k) bits |= static_cast<unsigned>(x[k] != T(0)) << k;
  return bits;
}
#endif

// The same of a word of values.
template <typename T>
inline std::uint64_t nonzero_word(const T* x) {
  std::uint64_t bits = 0;
#pragma GCC unroll 32
  for (int v = 0; v < kWord; v += Simd<T>::lanes) bits |= static_cast<std::uint64_t>(nonzero(x + v)) << v;
  return bits;
}

// Append the positions of the set bits, each plus `first`; returns the new length. May write kListSlack entries past it.
inline int append(std::uint64_t bits, int first, int32_t* list, int found) {
#if defined(GROKFAST_ISA_avx512)
  // Without a branch: how many are set is not to be predicted.
  const __m512i steps = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
#pragma GCC unroll 4
  for (int k = 0; k < kWord; k += 16) {
    const __mmask16 here = static_cast<__mmask16>(bits >> k);
    const __m512i at = _mm512_add_epi32(steps, _mm512_set1_epi32(first + k));
    _mm512_storeu_si512(list + found, _mm512_maskz_compress_epi32(here, at));
    found += __builtin_popcount(here);
  }
#else
  for (; bits; bits &= bits - 1) list[found++] = first + __builtin_ctzll(bits);
#endif
  return found;
}

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
