// Kernels with mistakes, which the emulated GPU must find; each beside the same kernel without.
#include <cstdint>

#include "launch.cuh"

namespace grokfast::cuda {
namespace {

// What `which` plants; of a negative number the kernel without its mistake.
enum Fault : int64_t {
  kNoBarrier = 1,        // between writing shared memory and reading it
  kNoSecondBarrier = 2,  // between reading it and writing it again
  kSplitBarrier = 3,     // half of the threads wait elsewhere
  kLeftBeforeBarrier = 4,
  kLeftBeforeShuffle = 5,
  kLaneOutsideMask = 6,
  kLoadBehind = 7,
  kStoreBefore = 8,
  kSharedBehind = 9,
  kDynamicBehind = 10,
  kUnwrittenShared = 11,
  kTooManyThreads = 12,
  kTooMuchShared = 13,
  kSharedUnasked = 14,
  kOverflow = 15,
};

// data[k] becomes the sum of its block's values, twice over: what each of two rounds leaves is added.
__global__ void sum_kernel(double* data, int64_t n, int64_t fault) {
  __shared__ double values[kThreads];
  double* rows = dynamic_shared<double>();
  const int me = threadIdx.x;
  const int64_t at = blockIdx.x * int64_t(blockDim.x) + me;
  if (fault == kLeftBeforeBarrier && at >= n) return;
  double total = 0;
  for (int round = 0; round < 2; ++round) {
    if (!(fault == kUnwrittenShared && me == 3)) values[me] = at < n ? data[at + (fault == kLoadBehind ? n : 0)] : 0.0;
    rows[me + (fault == kDynamicBehind ? 1 : 0)] = round;
    if (fault == kSplitBarrier && me < 100)
      __syncthreads();
    else if (fault != kNoBarrier)
      __syncthreads();
    double sum = 0;
    const double* first = fault == kSharedBehind ? values + 1 : values;
    for (int k = 0; k < int(blockDim.x); ++k) sum += first[k];
    total += sum + rows[(me + 7) % blockDim.x] - round;
    if (fault != kNoSecondBarrier) __syncthreads();
    values[me] = -1;
    if (fault != kNoSecondBarrier) __syncthreads();
  }
  if (at < n) data[at - (fault == kStoreBefore ? 1 : 0)] = total;
}

__global__ void warp_kernel(double* data, int64_t n, int64_t fault) {
  const int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  if (fault == kLeftBeforeShuffle && at >= n) return;
  const double value = at < n ? data[at] : 0.0;
  const unsigned mask = fault == kLaneOutsideMask ? 0x0000ffffu : 0xffffffffu;
  double sum = value;
  if (fault != kLaneOutsideMask || threadIdx.x % 32 < 16)
    for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(mask, sum, offset);
  if (at < n) data[at] = sum;
}

__global__ void overflow_kernel(double* data, int64_t n, int64_t fault) {
  const int64_t at = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  const int large = 2147483647 - (fault == kOverflow ? 0 : 1024);
  if (at < n) data[at] += large + int(threadIdx.x) + 1;
}

}  // namespace

int fault(int64_t which, double* data, int64_t n, void* stream) {
  const int64_t kind = which < 0 ? -which : which, planted = which < 0 ? 0 : which;
  if (kind == kLeftBeforeShuffle || kind == kLaneOutsideMask)
    return launch(warp_kernel, {blocks_for(n)}, kThreads, 0, stream, data, n, planted);
  if (kind == kOverflow) return launch(overflow_kernel, {blocks_for(n)}, kThreads, 0, stream, data, n, planted);
  if (planted == kSharedUnasked) {
    cudaLaunchConfig_t config = {};
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = 49 * 1024;
    return static_cast<int>(cudaLaunchKernelEx(&config, warp_kernel, data, n, planted));
  }
  const int threads = planted == kTooManyThreads ? 1025 : kThreads;
  const std::size_t shared = planted == kTooMuchShared ? 228 * 1024 : threads * sizeof(double);
  return launch(sum_kernel, {blocks_for(n)}, threads, shared, stream, data, n, planted);
}

}  // namespace grokfast::cuda
