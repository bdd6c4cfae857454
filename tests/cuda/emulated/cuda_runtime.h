// CUDA on the CPU, as far as csrc/cuda needs it, for tests: this header is found instead of CUDA's own, and each .cu is
// compiled as C++.
//
// A launch runs block after block, in a random order. The threads of a block are fibers on one thread of the CPU: each
// runs, in a random order, until it waits at a barrier or for the lanes of its warp, so that a thread which does not
// wait where it must sees what has not been written yet. Shared memory is filled with NaN before each block. A launch
// ends with an error if a limit of the hardware is passed, if threads wait for others that will not come (they have
// left or wait elsewhere), or if a lane reads one that takes no part. AddressSanitizer sees the rest.
#pragma once

#include <math.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// One section of the library holds all shared arrays; a block finds NaN in it.
#define __shared__ static __attribute__((section("emulated_shared")))

#define CUDART_VERSION 0

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719
};
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = void*;
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

const char* cudaGetErrorString(cudaError_t status);
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);

inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);

cudaError_t cudaMallocAsync(void** place, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaFreeAsync(void* place, cudaStream_t stream);
enum cudaMemcpyKind { cudaMemcpyHostToDevice };
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream);

namespace emulated {

// The most blocks of a launch: those of the hardware, and fewer where a test wants kernels to stride.
extern std::int64_t most_x, most_y;
extern unsigned char dynamic_shared[];

enum class Meeting { kBarrier, kExchange, kBallot };

cudaError_t run(const void* kernel, const cudaLaunchConfig_t& config, const std::function<void()>& thread);
// Waits for the block or the lanes of `mask`. Lanes exchange `value`: what comes back is that of lane `source`, or of a
// ballot the lanes whose value is not 0.
std::uint64_t meet(Meeting kind, int line, unsigned mask, std::uint64_t value, int source);
int lane();

template <typename T>
T exchange(unsigned mask, T value, int source, int line) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t), "shuffles carry at most eight bytes");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = meet(Meeting::kExchange, line, mask, bits, source);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

}  // namespace emulated

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments... arguments) {
  const std::tuple<Parameters...> values(arguments...);
  return emulated::run(reinterpret_cast<const void*>(kernel), *config, [&] { std::apply(kernel, values); });
}

inline void __syncthreads(int line = __builtin_LINE()) { emulated::meet(emulated::Meeting::kBarrier, line, 0, 0, 0); }
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  emulated::exchange(mask, 0, emulated::lane(), line);
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int line = __builtin_LINE()) {
  return emulated::exchange(mask, value, source & 31, line);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int line = __builtin_LINE()) {
  return emulated::exchange(mask, value, emulated::lane() ^ bits, line);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int delta, int line = __builtin_LINE()) {
  const int source = emulated::lane() + delta;
  return emulated::exchange(mask, value, source < 32 ? source : emulated::lane(), line);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int delta, int line = __builtin_LINE()) {
  const int source = emulated::lane() - delta;
  return emulated::exchange(mask, value, source >= 0 ? source : emulated::lane(), line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return static_cast<unsigned>(emulated::meet(emulated::Meeting::kBallot, line, mask, predicate != 0, 0));
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, line) == mask;
}
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }

// One fiber runs at a time: nothing comes between reading and writing.
template <typename T>
T atomicAdd(T* place, T value) {
  const T before = *place;
  *place = before + value;
  return before;
}
template <typename T>
T atomicMax(T* place, T value) {
  const T before = *place;
  *place = before < value ? value : before;
  return before;
}
