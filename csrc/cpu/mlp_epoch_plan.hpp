// Which rows of the first layer each batch of an epoch touches, for mlp_epoch.cpp.
#pragma once

#include <algorithm>
#include <cstdint>

#include "grokfast/buffer.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

using std::int32_t;
using std::int64_t;

// A row that a batch touches, which samples do, and how many steps without a gradient follow.
struct Touch {
  int32_t row, idle, first, last;  // samples[first .. last) touch it
};

class EpochPlan {
 public:
  // For pairs [N, 2] of inputs 0 .. inputs / 2, and as many again for the second of a pair.
  void make(const int64_t* pairs, int64_t N, int64_t batch, int64_t inputs) {
    fit(N, batch, inputs);
    const int64_t batches = (N + batch - 1) / batch;
    std::fill_n(next_.data(), inputs, static_cast<int32_t>(batches));
    for (int64_t b = batches - 1; b >= 0; --b) {
      const int64_t first = b * batch, last = std::min(N, first + batch);
      const auto each = [&](auto visit) {
        for (int64_t n = first; n < last; ++n) {
          visit(pairs[2 * n], n - first);
          visit(inputs / 2 + pairs[2 * n + 1], n - first);
        }
      };
      std::fill_n(counts_.data(), inputs, 0);
      each([&](int64_t i, int64_t) { ++counts_[i]; });
      list_rows(b, inputs);
      Touch* touches = touches_.data() + b * room_;
      int32_t end = 0;
      for (int64_t t = 0; t < touched_[b]; ++t) {
        const int32_t row = touches[t].row, count = counts_[row];
        counts_[row] = touches[t].first = end;
        touches[t].last = end += count;
        next_[row] = static_cast<int32_t>(b);
      }
      int32_t* samples = samples_.data() + 2 * first;
      each([&](int64_t i, int64_t n) { samples[counts_[i]++] = static_cast<int32_t>(n); });
    }
    batch_ = batch;
  }

  const Touch* touches(int64_t b) const { return touches_.data() + b * room_; }
  int64_t touched(int64_t b) const { return touched_.data()[b]; }
  const int32_t* samples(int64_t b) const { return samples_.data() + 2 * b * batch_; }
  // The first batch that touches a row; the number of batches if none does.
  int64_t before(int64_t row) const { return next_.data()[row]; }

 private:
  static constexpr int kIdle = 16, kCount = 4;  // longer idle times and counts are not told apart

  void fit(int64_t N, int64_t batch, int64_t inputs) {
    const int64_t batches = (N + batch - 1) / batch;
    room_ = std::min(2 * std::min(batch, N), inputs);
    next_.fit(inputs);
    counts_.fit(inputs);
    touches_.fit(batches * room_);
    touched_.fit(batches);
    samples_.fit(2 * N);
  }

  // Rows with as many idle steps and as many samples come together: loops of equal length one after another.
  void list_rows(int64_t b, int64_t inputs) {
    const auto idle = [&](int64_t i) { return next_[i] - static_cast<int32_t>(b) - 1; };
    const auto key = [&](int64_t i) {
      return kCount * std::min(idle(i), kIdle - 1) + std::min(counts_[i], kCount) - 1;
    };
    int32_t places[kIdle * kCount + 1] = {};
    for (int64_t i = 0; i < inputs; ++i)
      if (counts_[i] > 0) ++places[key(i) + 1];
    for (int k = 0; k < kIdle * kCount; ++k) places[k + 1] += places[k];
    touched_[b] = places[kIdle * kCount];
    Touch* touches = touches_.data() + b * room_;
    for (int64_t i = 0; i < inputs; ++i)
      if (counts_[i] > 0) touches[places[key(i)]++] = {static_cast<int32_t>(i), idle(i), 0, 0};
  }

  Buffer<int32_t> next_;  // by row, the next batch that touches it: in the end, the first
  Buffer<int32_t> counts_, samples_, touched_;
  Buffer<Touch> touches_;
  int64_t room_ = 0, batch_ = 0;
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
