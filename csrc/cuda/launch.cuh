// What every CUDA kernel file shares.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace grokfast::cuda {

constexpr int kThreads = 256;

inline cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }

// Blocks for `items` one-thread items, capped: kernels stride over the rest.
inline unsigned blocks_for(std::int64_t items) {
  const std::int64_t blocks = (items + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks > 65535 ? 65535 : blocks);
}

// A sum of many non-negative terms that keeps what each addition rounds away (Kahan).
template <typename T>
struct CompensatedSum {
  T total = T(0), lost = T(0);
  __device__ void add(T term) {
    const T wanted = term - lost, next = total + wanted;
    lost = (next - total) - wanted;
    total = next;
  }
};

// The status of the launch just made; an asynchronous fault shows at the next synchronising call, as torch's do.
inline int launched() { return static_cast<int>(cudaGetLastError()); }

}  // namespace grokfast::cuda
