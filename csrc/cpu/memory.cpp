#include "grokfast/memory.hpp"

#include <stdlib.h>

#include <atomic>
#include <limits>
#include <new>

namespace grokfast {
namespace {

constexpr std::size_t kLine = 64;
std::atomic<std::int64_t> requests{0}, failing{-1};

}  // namespace

void* allocate(std::int64_t count, std::size_t size) {
  if (requests.fetch_add(1) == failing.load()) throw std::bad_alloc();
  if (count == 0) return nullptr;
  constexpr std::size_t most = std::numeric_limits<std::ptrdiff_t>::max() - kLine;
  if (count < 0 || static_cast<std::size_t>(count) > most / size) throw std::bad_alloc();
  // Not std::aligned_alloc, whose sizes are multiples of the line: AddressSanitizer would not see the line's end.
  void* memory = nullptr;
  if (posix_memalign(&memory, kLine, static_cast<std::size_t>(count) * size) != 0) throw std::bad_alloc();
  return memory;
}

void release(void* memory) noexcept { free(memory); }

std::int64_t fail_allocation(std::int64_t successes) {
  failing.store(successes);
  return requests.exchange(0);
}

}  // namespace grokfast
