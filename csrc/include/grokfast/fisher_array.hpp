// A growable array for kernel sources. It is std::vector's, but lives in the instruction set's namespace: the linker keeps
// one copy of std::vector<float>'s functions for the whole library, and it might be the one built for the newest CPU.
#pragma once

#include <cstdint>
#include <new>
#include <utility>

#include "grokfast/memory.hpp"

#ifndef GROKFAST_ISA
#error "fisher_array.hpp is for kernel sources, which are compiled once per instruction set"
#endif

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

template <typename T>
class Array {
 public:
  Array() = default;
  explicit Array(std::int64_t size, T value = T()) { assign(size, value); }
  Array(Array&& other) noexcept { swap(other); }
  Array& operator=(Array&& other) noexcept {
    swap(other);
    return *this;
  }
  Array(const Array& other) {
    reserve(other.size_);
    for (std::int64_t k = 0; k < other.size_; ++k) push_back(other.data_[k]);
  }
  Array& operator=(const Array&) = delete;
  ~Array() {
    clear();
    release(data_);
  }

  void swap(Array& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(room_, other.room_);
  }
  void assign(std::int64_t size, T value) {
    clear();
    reserve(size);
    for (; size_ < size; ++size_) new (data_ + size_) T(value);
  }
  void resize(std::int64_t size) { assign(size, T()); }
  void reserve(std::int64_t room) {
    if (room >= 0 && room <= room_) return;
    Array larger;
    larger.data_ = static_cast<T*>(allocate(room, sizeof(T)));
    larger.room_ = room;
    for (; larger.size_ < size_; ++larger.size_) new (larger.data_ + larger.size_) T(std::move(data_[larger.size_]));
    swap(larger);
  }
  void push_back(T value) {
    if (size_ == room_) reserve(room_ < 8 ? 16 : 2 * room_);
    new (data_ + size_++) T(std::move(value));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t k) { return data_[k]; }
  const T& operator[](std::int64_t k) const { return data_[k]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  void clear() {
    while (size_ > 0) data_[--size_].~T();
  }
  T* data_ = nullptr;
  std::int64_t size_ = 0, room_ = 0;
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
