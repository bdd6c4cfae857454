// Scratch memory for kernel sources. It lives in the instruction set's namespace, unlike std::vector, whose
// instantiations the linker would share with code for older CPUs.
#pragma once

#include <cstdint>

#include "grokfast/memory.hpp"

namespace grokfast::GROKFAST_ISA {

// Uninitialised memory aligned to a cache line; it only grows.
template <typename T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t size) { fit(size); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(data_); }

  // Make room for `size` elements; what was there is lost if it grows.
  void fit(std::int64_t size) {
    if (size >= 0 && size <= size_) return;
    release(data_);
    data_ = nullptr;
    size_ = 0;
    data_ = static_cast<T*>(allocate(size, sizeof(T)));
    size_ = size;
  }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](std::int64_t k) { return data_[k]; }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace grokfast::GROKFAST_ISA
