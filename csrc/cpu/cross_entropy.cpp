// Mean cross entropy per member, the number of correct predictions and the gradient, in one pass over the logits.
#include "cross_entropy_row.hpp"
#include "grokfast/buffer.hpp"
#include "grokfast/training.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

template <typename T>
void cross_entropy(const T* logits, const int64_t* labels, T* loss, int64_t* correct, T* grad, int64_t E, int64_t N,
                   int64_t C, int threads) {
  parallel_for(E, threads, [&](int64_t e) {
    Buffer<T> scratch(C);
    double sum = 0;
    int64_t hits = 0;
    for (int64_t n = e * N; n < (e + 1) * N; ++n) {
      bool hit = false;
      sum += row_loss(logits + n * C, labels[n], C, grad ? grad + n * C : nullptr, static_cast<T>(1.0 / N),
                      scratch.data(), &hit);
      hits += hit;
    }
    loss[e] = static_cast<T>(sum / N);
    correct[e] = hits;
  });
}

}  // namespace

void cross_entropy_f32(const float* logits, const int64_t* labels, float* loss, int64_t* correct, float* grad,
                       int64_t E, int64_t N, int64_t C, int threads) {
  cross_entropy(logits, labels, loss, correct, grad, E, N, C, threads);
}
void cross_entropy_f64(const double* logits, const int64_t* labels, double* loss, int64_t* correct, double* grad,
                       int64_t E, int64_t N, int64_t C, int threads) {
  cross_entropy(logits, labels, loss, correct, grad, E, N, C, threads);
}

}  // namespace grokfast::GROKFAST_ISA
