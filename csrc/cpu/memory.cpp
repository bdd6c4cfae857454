#include "grokfast/memory.hpp"

#include <atomic>
#include <cstdlib>
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
  void* memory = std::aligned_alloc(kLine, (static_cast<std::size_t>(count) * size + kLine - 1) / kLine * kLine);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void release(void* memory) noexcept { std::free(memory); }

std::int64_t fail_allocation(std::int64_t successes) {
  failing.store(successes);
  return requests.exchange(0);
}

}  // namespace grokfast
