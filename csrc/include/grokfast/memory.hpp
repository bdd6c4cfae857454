// Scratch memory of the kernels. All of it is asked for here, so that a test can let each request fail in turn.
#pragma once

#include <cstddef>
#include <cstdint>

namespace grokfast {

// Uninitialised room for `count` elements of `size` bytes each, on a cache line; null for none.
// Throws std::bad_alloc if there is no such room, or if `count` is negative or too large to be counted in bytes.
void* allocate(std::int64_t count, std::size_t size);

void release(void* memory) noexcept;

// For tests: the request after `successes` more fails, once; negative: none does. Returns how many requests there have
// been since the last call.
std::int64_t fail_allocation(std::int64_t successes);

}  // namespace grokfast
