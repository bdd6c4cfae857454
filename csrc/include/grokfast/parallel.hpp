// A small thread pool for the CPU kernels: std::thread only, so that it does not meet torch's or Numba's OpenMP.
#pragma once

#include <cstdint>
#include <functional>

namespace grokfast {

// Run body(0) ... body(tasks - 1), in any order, on at most `threads` threads including the caller.
//
// Workers take the caller's floating-point mode (rounding, flush-to-zero), so a kernel answers the same for any
// number of threads as long as its tasks write to separate places. When the pool is already at work for
// another thread the call runs inline, and where no more threads can be had, on fewer. If the body throws, no further
// task is begun, those at work are waited for, and the first exception is thrown here. A process forked meanwhile has a
// pool of its own.
void parallel_for(std::int64_t tasks, int threads, const std::function<void(std::int64_t)>& body);

}  // namespace grokfast
