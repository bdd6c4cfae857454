// Vectors of the compiler's own (GCC and Clang extension) in the widest register of the instruction set that
// this file is being compiled for. Everything lives in that instruction set's namespace, so that no inline
// function compiled for a newer CPU can be picked up by code meant for an older one.
#pragma once

#include <cstdint>
#include <cstring>

#ifndef GROKFAST_ISA
#error "simd.hpp is for kernel sources, which are compiled once per instruction set"
#endif

#if defined(GROKFAST_ISA_avx512)
#define GROKFAST_VECTOR_BYTES 64
#elif defined(GROKFAST_ISA_avx2)
#define GROKFAST_VECTOR_BYTES 32
#else
#define GROKFAST_VECTOR_BYTES 16
#endif

namespace grokfast::GROKFAST_ISA {

template <typename T>
struct Simd {
  typedef T Vector __attribute__((vector_size(GROKFAST_VECTOR_BYTES)));
  static constexpr int lanes = GROKFAST_VECTOR_BYTES / static_cast<int>(sizeof(T));

  static inline Vector load(const T* from) {
    Vector v;
    std::memcpy(&v, from, sizeof(v));
    return v;
  }
  static inline void store(T* to, Vector v) { std::memcpy(to, &v, sizeof(v)); }
  static inline Vector fill(T x) { return x - Vector{}; }  // not +, which would turn -0 into 0 and so cost an addition
};

}  // namespace grokfast::GROKFAST_ISA
