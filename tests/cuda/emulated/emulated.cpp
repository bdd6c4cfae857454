// The fibers behind cuda_runtime.h: who runs next, who waits for whom, and what a launch may be.
#include "emulated.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "cuda_runtime.h"

#ifndef __x86_64__
#error "the fibers of the emulated GPU are written for x86-64"
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// Saves the registers that a call must keep on the stack, puts the stack's place into *from, and goes on at `to`.
extern "C" void emulated_switch(void** from, void* to);
asm(R"(
.text
.globl emulated_switch
.hidden emulated_switch
.type emulated_switch, @function
emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

extern "C" unsigned char __start_emulated_shared[] __attribute__((visibility("hidden")));
extern "C" unsigned char __stop_emulated_shared[] __attribute__((visibility("hidden")));
static __attribute__((section("emulated_shared"), used)) std::uint64_t one_shared_word;  // the section exists

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emulated {

std::int64_t most_x = 2147483647, most_y = 65535;

namespace {

constexpr int kMostThreads = 1024;
constexpr std::size_t kMostShared = 227 * 1024, kSharedUnasked = 48 * 1024, kStack = 256 * 1024;

struct Thread {
  enum State { kNew, kReady, kWaiting, kDone } state = kNew;
  Meeting kind = Meeting::kBarrier;
  int line = 0, source = 0;
  unsigned mask = 0;
  std::uint64_t value = 0;
  struct Fiber* fiber = nullptr;
};

struct Fiber {
  void* place = nullptr;  // of the stack while it does not run
  void* stack = nullptr;
  void* fake = nullptr;  // AddressSanitizer's
  int thread = -1;
};

std::mutex one_launch;
std::uint64_t state = 1;
std::string message;
std::int64_t launches = 0, most_shared = kMostShared;
std::map<const void*, std::size_t> allowed_shared;

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
std::vector<Thread> threads;
std::vector<int> order, ready;
std::size_t next = 0;  // in order: the threads from here on have not begun
int here = -1;         // the thread that runs
const std::function<void()>* body = nullptr;
void *main_place = nullptr, *main_fake = nullptr;
const void* main_stack = nullptr;
std::size_t main_size = 0;

std::size_t below(std::size_t count) {  // SplitMix64, which is random enough for an order
  std::uint64_t x = state += 0x9e3779b97f4a7c15;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return (x ^ x >> 31) % count;
}

void enter(Fiber& fiber) {
  here = fiber.thread;
  if (here >= 0) threadIdx.x = static_cast<unsigned>(here);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&main_fake, fiber.stack, kStack);
#endif
  emulated_switch(&main_place, fiber.place);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(main_fake, nullptr, nullptr);
#endif
}

void arrived() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, &main_stack, &main_size);
#endif
}

void leave(Fiber& fiber) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&fiber.fake, main_stack, main_size);
#endif
  emulated_switch(&fiber.place, main_place);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fiber.fake, &main_stack, &main_size);
#endif
}

Fiber* running = nullptr;

// A fiber runs one thread after another until one of them waits; the scheduler then takes another fiber for the rest.
void work() {
  arrived();
  Fiber& mine = *running;
  for (;;) {
    while (next < order.size()) {
      here = mine.thread = order[next++];
      threadIdx.x = static_cast<unsigned>(here);
      threads[here].fiber = &mine;
      (*body)();
      threads[mine.thread].state = Thread::kDone;
    }
    mine.thread = -1;
    idle.push_back(&mine);
    leave(mine);
  }
}

Fiber& fresh_fiber() {
  if (!idle.empty()) {
    Fiber& fiber = *idle.back();
    idle.pop_back();
    return fiber;
  }
  fibers.push_back(std::make_unique<Fiber>());
  Fiber& fiber = *fibers.back();
  fiber.stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  auto* top = reinterpret_cast<void**>(static_cast<char*>(fiber.stack) + kStack);
  top[-2] = reinterpret_cast<void*>(&work);  // where the first switch returns to, with the stack as after a call
  fiber.place = top - 8;
  return fiber;
}

// After a failure threads still wait in the middle of the kernel, on stacks that nobody will return to.
void abandon_fibers() {
  for (auto& fiber : fibers) {
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(fiber->stack, kStack);
#endif
    munmap(fiber->stack, kStack);
  }
  fibers.clear();
  idle.clear();
}

__attribute__((no_sanitize("address"))) void spoil_shared(std::size_t dynamic) {
  auto* at = reinterpret_cast<volatile std::uint64_t*>(__start_emulated_shared);
  for (; at < reinterpret_cast<void*>(__stop_emulated_shared); ++at) *at = ~std::uint64_t(0);
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(dynamic_shared, dynamic);
  __asan_poison_memory_region(dynamic_shared + dynamic, kMostShared + 64 - dynamic);
#endif
  std::memset(dynamic_shared, 0xff, dynamic);
}

bool has_met(const Thread& one, const Thread& other) {
  return other.state == Thread::kWaiting && other.kind == one.kind && other.line == one.line && other.mask == one.mask;
}

void release(int thread) {
  threads[thread].state = Thread::kReady;
  ready.push_back(thread);
}

// Lets those go on whom thread `last` was the last to meet.
void release_met(int last) {
  const Thread& one = threads[last];
  if (one.kind == Meeting::kBarrier) {
    for (const Thread& other : threads)
      if (!has_met(one, other)) return;
    for (int k : order) release(k);
    return;
  }
  const int first = last / 32 * 32;
  std::uint64_t values[32], ballot = 0;
  for (int k = 0; k < 32; ++k) {
    if (!(one.mask >> k & 1)) continue;
    if (first + k >= static_cast<int>(threads.size()) || !has_met(one, threads[first + k])) return;
    values[k] = threads[first + k].value;
    ballot |= std::uint64_t(values[k] != 0) << k;
  }
  for (int k = 0; k < 32; ++k) {
    if (!(one.mask >> k & 1)) continue;
    Thread& other = threads[first + k];
    if (other.kind == Meeting::kExchange && (other.source < 0 || other.source > 31 || !(one.mask >> other.source & 1)))
      message = "line " + std::to_string(other.line) + ": lane " + std::to_string(k) + " reads lane " +
                std::to_string(other.source) + ", which takes no part";
    else
      other.value = other.kind == Meeting::kBallot ? ballot : values[other.source];
    release(first + k);
  }
}

std::string who_waits() {
  std::map<std::string, int> waiting;
  int left = 0;
  for (const Thread& one : threads) {
    if (one.state == Thread::kDone) ++left;
    if (one.state == Thread::kWaiting)
      ++waiting[(one.kind == Meeting::kBarrier ? "at the barrier of line " : "for their warp in line ") +
                std::to_string(one.line)];
  }
  std::string text;
  for (const auto& [where, count] : waiting) text += std::to_string(count) + " threads wait " + where + ", ";
  return text + std::to_string(left) + " have left";
}

bool run_block(int count, std::size_t dynamic) {
  spoil_shared(dynamic);
  threads.assign(count, Thread());
  order.resize(count);
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t k = order.size(); k > 1; --k) std::swap(order[k - 1], order[below(k)]);
  ready.clear();
  next = 0;
  while (message.empty()) {
    const bool more = next < order.size();
    if (!more && ready.empty()) break;
    if (more && (ready.empty() || below(2) == 0)) {
      running = &fresh_fiber();
      running->thread = -1;
    } else {
      std::swap(ready[below(ready.size())], ready.back());
      running = threads[ready.back()].fiber;
      ready.pop_back();
    }
    enter(*running);
  }
  const bool all = std::all_of(threads.begin(), threads.end(), [](auto& one) { return one.state == Thread::kDone; });
  if (message.empty() && !all) message = who_waits();
  return message.empty();
}

cudaError_t refuse(const std::string& why, cudaError_t status = cudaErrorInvalidConfiguration) {
  message = why;
  return status;
}

}  // namespace

alignas(64) unsigned char dynamic_shared[kMostShared + 64];

int lane() { return here % 32; }

std::uint64_t meet(Meeting kind, int line, unsigned mask, std::uint64_t value, int source) {
  const int mine = here;
  Fiber& fiber = *threads[mine].fiber;
  Thread& one = threads[mine];
  one.state = Thread::kWaiting, one.kind = kind, one.line = line, one.mask = mask, one.value = value;
  one.source = source;
  if (kind != Meeting::kBarrier && !(mask >> (mine % 32) & 1))
    message = "line " + std::to_string(line) + ": a lane that its mask leaves out";
  release_met(mine);
  leave(fiber);
  return threads[mine].value;
}

cudaError_t run(const void* kernel, const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
  const std::lock_guard<std::mutex> alone(one_launch);
  const dim3 grid = config.gridDim, block = config.blockDim;
  message.clear();
  ++launches;
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535)
    return refuse("a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                  std::to_string(grid.z) + " blocks");
  if (block.x < 1 || block.x > kMostThreads || block.y != 1 || block.z != 1)
    return refuse("blocks of " + std::to_string(block.x) + " x " + std::to_string(block.y) + " threads");
  const std::size_t shared = config.dynamicSmemBytes;
  if (shared > std::max(kSharedUnasked, allowed_shared[kernel]))
    return refuse(std::to_string(shared) + " bytes of shared memory that were not asked for");
  gridDim = grid;
  blockDim = block;
  threadIdx = {};
  body = &thread;
  const std::uint64_t total = std::uint64_t(grid.x) * grid.y * grid.z;
  std::uint64_t step = total > 1 ? 1 + below(total - 1) : 1;
  while (std::gcd(step, total) != 1) ++step;
  std::uint64_t place = below(total);
  for (std::uint64_t k = 0; k < total; ++k, place = (place + step) % total) {
    blockIdx.x = static_cast<unsigned>(place % grid.x);
    blockIdx.y = static_cast<unsigned>(place / grid.x % grid.y);
    blockIdx.z = static_cast<unsigned>(place / grid.x / grid.y);
    if (!run_block(static_cast<int>(block.x), shared)) {
      abandon_fibers();
      return cudaErrorLaunchFailure;
    }
  }
  return cudaSuccess;
}

void seed(std::uint64_t value) { state = value; }
std::int64_t count_launches() { return std::exchange(launches, 0); }
void limit_grid(std::int64_t x, std::int64_t y) { most_x = x, most_y = y; }
void limit_shared(std::int64_t bytes) { most_shared = bytes; }

}  // namespace emulated

const char* cudaGetErrorString(cudaError_t) { return emulated::message.c_str(); }

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (value < 0 || static_cast<std::size_t>(value) > emulated::kMostShared)
    return emulated::refuse(std::to_string(value) + " bytes of shared memory a block", cudaErrorInvalidValue);
  emulated::allowed_shared[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = static_cast<int>(emulated::most_shared);
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** place, std::size_t bytes, cudaStream_t) {
  *place = std::malloc(bytes);
  std::memset(*place, 0xff, bytes);  // NaN
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* place, cudaStream_t) {
  std::free(place);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
