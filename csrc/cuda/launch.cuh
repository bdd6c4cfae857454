// What every CUDA kernel file shares. `tests/cuda/emulated/cuda_runtime.h` stands in for CUDA's header where the
// kernels are compiled for the CPU, to be tested there.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace grokfast::cuda {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// The most blocks of a launch. Kernels stride over what is more.
#ifdef GROKFAST_EMULATED
inline std::int64_t most_x() { return emulated::most_x; }
inline std::int64_t most_y() { return emulated::most_y; }
#else
inline std::int64_t most_x() { return 2147483647; }
inline std::int64_t most_y() { return 65535; }
#endif

struct Grid {
  std::int64_t x, y = 1;
};

// Launches `kernel` on the least of `grid` and what a launch may have; 0 or an error. Without a block nothing is done.
// An asynchronous fault shows at the next synchronising call, as torch's do.
template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), Grid grid, int threads, std::size_t shared, void* stream,
           Arguments... arguments) {
  if (grid.x <= 0 || grid.y <= 0) return 0;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(grid.x < most_x() ? grid.x : most_x()),
                        static_cast<unsigned>(grid.y < most_y() ? grid.y : most_y()));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.stream = static_cast<cudaStream_t>(stream);
  cudaError_t status = cudaSuccess;
  if (shared > 48 * 1024)
    status = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared));
  if (status == cudaSuccess) status = cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
  cudaGetLastError();  // it is ours, and nobody else shall take it for theirs
  return static_cast<int>(status);
}

// Memory for intermediate results, had and given back in the order of the stream.
class Scratch {
 public:
  Scratch(std::size_t bytes, void* stream) : stream_(static_cast<cudaStream_t>(stream)) {
    status_ = cudaMallocAsync(&place_, bytes > 0 ? bytes : 1, stream_);
    if (status_ != cudaSuccess) cudaGetLastError();
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (status_ == cudaSuccess) cudaFreeAsync(place_, stream_);
  }
  int status() const { return static_cast<int>(status_); }
  template <typename T>
  T* as(std::size_t first_byte = 0) const {
    return reinterpret_cast<T*>(static_cast<unsigned char*>(place_) + first_byte);
  }

 private:
  void* place_ = nullptr;
  cudaStream_t stream_;
  cudaError_t status_;
};

// How many of `wanted` blocks may run if each has `bytes` of scratch memory: 4 GiB in all, and at least one.
inline std::int64_t blocks_within(std::int64_t wanted, std::int64_t bytes) {
  const std::int64_t room = (std::int64_t(1) << 32) / (bytes > 0 ? bytes : 1);
  const std::int64_t most = room < 1 ? 1 : room < 65536 ? room : 65536;
  const std::int64_t blocks = wanted < most ? wanted : most;
  return blocks < most_x() ? blocks : most_x();
}

// Blocks for `items` one-thread items, capped: kernels stride over the rest.
inline std::int64_t blocks_for(std::int64_t items) {
  const std::int64_t blocks = (items + kThreads - 1) / kThreads;
  return blocks > 65535 ? 65535 : blocks;
}

// The dynamic shared memory of a block.
template <typename T>
__device__ T* dynamic_shared() {
#ifdef GROKFAST_EMULATED
  return reinterpret_cast<T*>(emulated::dynamic_shared);
#else
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
#endif
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

// The sum over the 32 lanes of a warp, in each of them, in an order of its own that is always the same.
template <typename T>
__device__ T warp_sum(T x) {
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

}  // namespace grokfast::cuda
