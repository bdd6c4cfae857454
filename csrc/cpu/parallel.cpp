#include "grokfast/parallel.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace grokfast {
namespace {

class Pool {
 public:
  void run(std::int64_t tasks, int threads, const std::function<void(std::int64_t)>& body) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (static_cast<int>(workers_.size()) < threads - 1) {
        const int index = static_cast<int>(workers_.size());
        workers_.emplace_back([this, index] { work(index); });
      }
      body_ = &body;
      tasks_ = tasks;
      next_.store(0);
      helpers_ = threads - 1;
      running_ = threads - 1;
      std::fegetenv(&float_mode_);
      ++generation_;
    }
    wake_.notify_all();
    drain(body);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
    body_ = nullptr;
  }

  std::mutex in_use;

 private:
  void drain(const std::function<void(std::int64_t)>& body) {
    for (;;) {
      const std::int64_t task = next_.fetch_add(1);
      if (task >= tasks_) return;
      body(task);
    }
  }

  void work(int index) {
    std::uint64_t seen = 0;
    for (;;) {
      const std::function<void(std::int64_t)>* body = nullptr;
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
  const std::function<void(std::int64_t)>* body_ = nullptr;
  std::atomic<std::int64_t> next_{0};
  std::int64_t tasks_ = 0;
  int helpers_ = 0;
  int running_ = 0;
  std::uint64_t generation_ = 0;
  std::fenv_t float_mode_{};
};

// The pool is never destroyed: its workers sleep until the process ends. A forked child has none of its parent's
// threads, so it gets a pool of its own.
Pool& pool() {
  static std::mutex guard;
  static Pool* current = nullptr;
  static pid_t owner = 0;
  std::lock_guard<std::mutex> lock(guard);
  if (current == nullptr || owner != getpid()) {
    current = new Pool;
    owner = getpid();
  }
  return *current;
}

}  // namespace

void parallel_for(std::int64_t tasks, int threads, const std::function<void(std::int64_t)>& body) {
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
