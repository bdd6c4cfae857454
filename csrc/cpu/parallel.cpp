#include "grokfast/parallel.hpp"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace grokfast {
namespace {

using Body = std::function<void(std::int64_t)>;

class Pool {
 public:
  void run(std::int64_t tasks, int threads, const Body& body) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      hire(threads - 1);
      body_ = &body;
      tasks_ = tasks;
      next_.store(0);
      helpers_ = std::min(threads - 1, static_cast<int>(workers_.size()));
      running_ = helpers_;
      met_.store(0, std::memory_order_relaxed);
      std::fegetenv(&float_mode_);
      ++generation_;
    }
    wake_.notify_all();
    drain(body);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
    body_ = nullptr;
    if (error_ == nullptr) return;
    const std::exception_ptr first = std::exchange(error_, nullptr);
    lock.unlock();
    std::rethrow_exception(first);
  }

  std::mutex in_use;

 private:
  // As many workers as the system gives.
  void hire(int count) {
    try {
      while (static_cast<int>(workers_.size()) < count) {
        const int index = static_cast<int>(workers_.size());
        workers_.emplace_back([this, index] { work(index); });
      }
    } catch (const std::exception&) {
    }
  }

  void drain(const Body& body) noexcept {
    for (bool first = true;; first = false) {
      const std::int64_t task = next_.fetch_add(1);
      if (task >= tasks_) return;
      if (first) meet();
      try {
        body(task);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (error_ == nullptr) error_ = std::current_exception();
        next_.store(tasks_);
      }
    }
  }

  // Under ThreadSanitizer no thread works before each has a task: on a busy machine one would do all of them, and what
  // they share would not be seen. Relaxed, so that this orders nothing between them.
  void meet() {
#ifdef __SANITIZE_THREAD__
    met_.fetch_add(1, std::memory_order_relaxed);
    while (met_.load(std::memory_order_relaxed) <= helpers_) std::this_thread::yield();
#endif
  }

  void work(int index) {
    std::uint64_t seen = 0;
    for (;;) {
      const Body* body = nullptr;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (index >= helpers_) continue;
        body = body_;
        std::fesetenv(&float_mode_);
      }
      drain(*body);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--running_ == 0) done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> workers_;
  const Body* body_ = nullptr;
  std::atomic<std::int64_t> next_{0};
  std::atomic<int> met_{0};
  std::int64_t tasks_ = 0;
  int helpers_ = 0;
  int running_ = 0;
  std::uint64_t generation_ = 0;
  std::fenv_t float_mode_{};
  std::exception_ptr error_;
};

// The pool is never destroyed: its workers sleep until the process ends. A forked child has none of its parent's
// threads, so it gets a pool of its own; nobody else holds the lock while the process forks.
std::mutex guard;
Pool* current = nullptr;

Pool& pool() {
  static const int registered = pthread_atfork([] { guard.lock(); }, [] { guard.unlock(); },
                                               [] {
                                                 current = nullptr;
                                                 guard.unlock();
                                               });
  (void)registered;
  std::lock_guard<std::mutex> lock(guard);
  if (current == nullptr) current = new Pool;
  return *current;
}

}  // namespace

void parallel_for(std::int64_t tasks, int threads, const Body& body) {
  threads = static_cast<int>(std::min<std::int64_t>(threads, tasks));
  if (threads > 1) {
    Pool& shared = pool();
    std::unique_lock<std::mutex> free(shared.in_use, std::try_to_lock);
    if (free.owns_lock()) {
      shared.run(tasks, threads, body);
      return;
    }
  }
  for (std::int64_t task = 0; task < tasks; ++task) body(task);
}

}  // namespace grokfast
