// An epoch of a one-hidden-layer ReLU network on two-hot pairs with Adam, member by member: batch after batch, each a
// forward pass, a backward pass, and the update of what the backward pass has just finished.
//
//   h = relu(rows[a] + rows[P + b] + bias1)             strip of hidden units by strip
//   z = bias2 + sum over active u of h[u] W[:, u]       columns.hpp; vectors along the classes
//   d = (softmax(z) - onehot) / N                       cross_entropy_row.hpp
//   dW[:, u] = sum over active n of h[n, u] d[n]        in registers, together with
//   dh[n, u] = d[n] . W[:, u]                           which goes to the pair's two rows
//
// Only active pairs of sample and unit are summed, which are a third to a half of all. The gradient of a column of W is
// never stored: its Adam step is taken while it is in registers. A row of the first layer that no sample of a batch
// touches has no gradient, and which batches touch it is known for the whole epoch: its steps up to the next touch are
// taken at once, while it is in registers. So between batches some rows are ahead of others, and all agree at the end.
//
// A member whose loss or parameters are not finite at some point of the epoch is left as it was, for the caller to
// train step by step.
#include <algorithm>
#include <cmath>

#include "active.hpp"
#include "adam_vector.hpp"
#include "columns.hpp"
#include "cross_entropy_row.hpp"
#include "grokfast/parallel.hpp"
#include "grokfast/training.hpp"
#include "mlp_epoch_net.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kChunk = kWord;  // hidden units of a forward task, whose part of W stays in the first-level cache
constexpr int kPartial = 128;      // samples whose gradients are summed before they are added to others
#if defined(GROKFAST_ISA_avx512)
constexpr int kTile = 8;  // vectors of classes in registers
#else
constexpr int kTile = 4;
#endif

// A row that a batch touches, and the steps without a gradient that follow.
struct Touch {
  int32_t row, idle;
};

template <typename T>
class Trainer {
  using S = Simd<T>;
  using Vector = typename S::Vector;
  static constexpr int64_t L = S::lanes;

 public:
  StripNet<T> net;

  // Returns whether all stayed finite; only then the network is of use.
  bool epoch(const int64_t* pairs, const int64_t* labels, int64_t N, int64_t batch, const AdamRule<T>& rule,
             const AdamStep<T>* steps, double* loss, int64_t* correct) {
    fit(N, batch);
    plan(pairs, N, batch);
    for (int64_t s = 0; s < net.strips; ++s)
      for (int64_t i = 0; i < net.inputs; ++i)
        if (before_[i] > 0) update_row(net.row(s, i), nullptr, rule, steps, before_[i]);
    double sum = 0;
    int64_t hits = 0;
    for (int64_t b = 0; b * batch < N; ++b) {
      const int64_t first = b * batch, samples = std::min(batch, N - first);
      forward(pairs + 2 * first, samples);
      const double found = losses(labels + first, samples, &hits);
      if (!std::isfinite(static_cast<T>(found))) return false;
      sum += found;
      for (int64_t s = 0; s < net.strips; ++s) backward(s, b, pairs + 2 * first, samples, rule, steps + b);
      update_bias2(samples, rule, steps[b]);
    }
    *loss = sum / static_cast<double>(N);
    *correct = hits;
    return net.is_finite();
  }

 private:
  void fit(int64_t N, int64_t batch) {
    const int64_t padded = (std::min(batch, N) + L - 1) / L * L, batches = (N + batch - 1) / batch;
    z_.fit(padded * net.stride);
    d_.fit(padded * net.stride);
    std::fill_n(d_.data(), padded * net.stride, T(0));
    p_.fit(net.classes);
    h_.fit(net.strips * L * padded);
    dh_.fit(L * padded);
    list_.fit(padded + kWord + kListSlack);
    found_.fit(padded);
    g_rows_.fit(net.inputs * L);
    std::fill_n(g_rows_.data(), net.inputs * L, T(0));
    before_.fit(net.inputs);
    touches_.fit(std::min(2 * N, batches * net.inputs));
    starts_.fit(batches + 1);
  }

  // Which rows each batch touches, and for how many batches after it none does.
  void plan(const int64_t* pairs, int64_t N, int64_t batch) {
    const int64_t batches = (N + batch - 1) / batch, P = net.inputs / 2;
    int64_t room = std::min(2 * N, batches * net.inputs);
    starts_[batches] = room;
    std::fill_n(before_.data(), net.inputs, static_cast<int32_t>(batches));
    for (int64_t b = batches - 1; b >= 0; --b) {
      int32_t* next = before_.data();  // the next batch that touches a row
      const int64_t first = b * batch, last = std::min(N, first + batch);
      const auto touched = [&](int64_t i) { return next[i] < 0; };
      for (int64_t n = first; n < last; ++n)
        for (const int64_t i : {pairs[2 * n], P + pairs[2 * n + 1]})
          if (!touched(i)) next[i] = -1 - next[i];
      for (int64_t i = net.inputs - 1; i >= 0; --i)
        if (touched(i)) {
          touches_[--room] = {static_cast<int32_t>(i), static_cast<int32_t>(-1 - next[i] - b - 1)};
          next[i] = static_cast<int32_t>(b);
        }
      starts_[b] = room;
    }
  }

  // One step with gradient g (unless null) and then `idle` steps without.
  static void update_row(T* row, const T* g, const AdamRule<T>& rule, const AdamStep<T>* steps, int64_t idle) {
    Vector p = S::load(row), m = S::load(row + L), v = S::load(row + 2 * L);
    if (g) rule.update(p, m, v, S::load(g), *steps++);
    for (int64_t k = 0; k < idle; ++k) rule.update(p, m, v, Vector{}, steps[k]);
    S::store(row, p);
    S::store(row + L, m);
    S::store(row + 2 * L, v);
  }

  // Logits of all samples; activations to h_[unit][sample].
  void forward(const int64_t* pairs, int64_t samples) {
    const int64_t padded = (samples + L - 1) / L * L, P = net.inputs / 2, units = net.strips * L;
    for (int64_t n = 0; n < padded; ++n) std::copy_n(net.bias2(), net.stride, z_.data() + n * net.stride);
    alignas(64) T h[L * kChunk] = {};
    int32_t list[kChunk + kListSlack];
    for (int64_t u0 = 0; u0 < units; u0 += kChunk) {
      const int64_t last = std::min(kChunk, units - u0);
      if (last < kChunk) std::fill_n(h, L * kChunk, T(0));
      for (int64_t n0 = 0; n0 < padded; n0 += L) {
        const int64_t here = std::min(L, samples - n0);
        for (int64_t u = 0; u < last; u += L) {
          const int64_t s = (u0 + u) / L;
          const Vector bias = S::load(net.row(s, net.inputs)), zero{};
          Vector block[L];
          for (int64_t j = 0; j < L; ++j) block[j] = zero;
          for (int64_t j = 0; j < here; ++j) {
            const int64_t* pair = pairs + 2 * (n0 + j);
            const Vector sum = S::load(net.row(s, pair[0])) + S::load(net.row(s, P + pair[1])) + bias;
            block[j] = sum < zero ? zero : sum;
            S::store(h + j * kChunk + u, block[j]);
          }
          transpose<T>(block);
          for (int64_t j = 0; j < L; ++j) S::store(h_.data() + (u0 + u + j) * padded + n0, block[j]);
        }
        for (int64_t j = 0; j < here; ++j) {
          const T* mine = h + j * kChunk;
          const int count = append(nonzero_word(mine), 0, list, 0);
          add_columns([&](int k) { return mine[list[k]]; }, list, count, net.column(u0), 3 * net.stride, net.stride,
                      z_.data() + (n0 + j) * net.stride);
        }
      }
    }
  }

  double losses(const int64_t* labels, int64_t samples, int64_t* hits) {
    double sum = 0;
    for (int64_t n = 0; n < samples; ++n) {
      bool hit = false;
      sum += row_loss(z_.data() + n * net.stride, labels[n], net.classes, d_.data() + n * net.stride,
                      static_cast<T>(1.0 / samples), p_.data(), &hit);
      *hits += hit;
    }
    return sum;
  }

  // Gradients of one strip of units, and its steps.
  void backward(int64_t s, int64_t b, const int64_t* pairs, int64_t samples, const AdamRule<T>& rule,
                const AdamStep<T>* step) {
    const int64_t padded = (samples + L - 1) / L * L, P = net.inputs / 2;
    std::fill_n(dh_.data(), L * padded, T(0));
    for (int64_t k = 0; k < L; ++k) {
      const T* h = h_.data() + (s * L + k) * padded;
      const int count = positions(h, padded);
      std::fill_n(found_.data(), (count + L - 1) / L * L, T(0));
      column_tiles(h, count, net.column(s * L + k), rule, *step);
      T* dh = dh_.data() + k * padded;
      for (int j = 0; j < count; ++j) dh[list_[j]] = found_[j];
    }
    Vector g_bias{};
    for (int64_t n0 = 0; n0 < padded; n0 += L) {
      Vector block[L];
      for (int64_t j = 0; j < L; ++j) block[j] = S::load(dh_.data() + j * padded + n0);
      transpose<T>(block);
      const int64_t here = std::min(L, samples - n0);
      for (int64_t j = 0; j < here; ++j) {
        const int64_t* pair = pairs + 2 * (n0 + j);
        for (const int64_t i : {pair[0], P + pair[1]}) {
          T* g = g_rows_.data() + i * L;
          S::store(g, S::load(g) + block[j]);
        }
        g_bias += block[j];
      }
    }
    for (int64_t t = starts_[b]; t < starts_[b + 1]; ++t) {
      T* g = g_rows_.data() + touches_[t].row * L;
      update_row(net.row(s, touches_[t].row), g, rule, step, touches_[t].idle);
      S::store(g, Vector{});
    }
    T g[L];
    S::store(g, g_bias);
    update_row(net.row(s, net.inputs), g, rule, step, 0);
  }

  // Positions of the samples on which a unit is active, to list_.
  int positions(const T* h, int64_t padded) {
    int count = 0;
    int64_t n = 0;
    for (; n + kWord <= padded; n += kWord) count = append(nonzero_word(h + n), static_cast<int>(n), list_.data(), count);
    for (; n < padded; n += L) count = append(nonzero(h + n), static_cast<int>(n), list_.data(), count);
    return count;
  }

  void column_tiles(const T* h, int count, T* column, const AdamRule<T>& rule, AdamStep<T> step) {
    int64_t c = 0;
    for (; c + kTile * L <= net.stride; c += kTile * L) column_tile<kTile>(h, count, c, column + c, rule, step);
    for (; c + 4 * L <= net.stride; c += 4 * L) column_tile<4>(h, count, c, column + c, rule, step);
    for (; c + 2 * L <= net.stride; c += 2 * L) column_tile<2>(h, count, c, column + c, rule, step);
    for (; c < net.stride; c += L) column_tile<1>(h, count, c, column + c, rule, step);
  }

  // On `Vectors` vectors of classes: found_[k] += d[n_k] . w and g = sum of h[n_k] d[n_k], then the step of w.
  template <int Vectors>
  void column_tile(const T* h, int count, int64_t c, T* column, const AdamRule<T>& rule, AdamStep<T> step) {
    Vector w[Vectors], g[Vectors] = {}, sum[Vectors] = {};
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) w[v] = S::load(column + v * L);
    for (int k0 = 0; k0 < count; k0 += L) {
      const int here = std::min<int>(L, count - k0);
      Vector dots[L];
      for (int j = here; j < L; ++j) dots[j] = Vector{};
      for (int j = 0; j < here; ++j) {
        const int64_t n = list_[k0 + j];
        const T* d = d_.data() + n * net.stride + c;
        const T x = h[n];
        Vector dot[2] = {};
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
          const Vector y = S::load(d + v * L);
          g[v] += x * y;
          dot[v % 2] += w[v] * y;
        }
        dots[j] = dot[0] + dot[1];
      }
      T* to = found_.data() + k0;
      S::store(to, S::load(to) + sum_each<T>(dots));
      if ((k0 + L) % kPartial == 0) {
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
          sum[v] += g[v];
          g[v] = Vector{};
        }
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      T* to = column + v * L;
      Vector m = S::load(to + net.stride), square = S::load(to + 2 * net.stride);
      rule.update(w[v], m, square, sum[v] + g[v], step);
      S::store(to, w[v]);
      S::store(to + net.stride, m);
      S::store(to + 2 * net.stride, square);
    }
  }

  void update_bias2(int64_t samples, const AdamRule<T>& rule, AdamStep<T> step) {
    for (int64_t c = 0; c < net.stride; c += L) {
      Vector g{};
      for (int64_t n = 0; n < samples; ++n) g += S::load(d_.data() + n * net.stride + c);
      T* to = net.bias2() + c;
      Vector p = S::load(to), m = S::load(to + net.stride), v = S::load(to + 2 * net.stride);
      rule.update(p, m, v, g, step);
      S::store(to, p);
      S::store(to + net.stride, m);
      S::store(to + 2 * net.stride, v);
    }
  }

  Buffer<T> z_, d_;   // [sample][classes]
  Buffer<T> h_, dh_;  // [unit][sample]; dh_ of one strip
  Buffer<T> p_, found_, g_rows_;
  Buffer<int32_t> list_, before_;
  Buffer<Touch> touches_;
  Buffer<int64_t> starts_;
};

template <typename T>
void mlp_epoch(T* rows, T* bias1, T* weight, T* bias2, const int64_t* moments, const int64_t* pairs,
               const int64_t* labels, const double* lr, const double* decay, const uint8_t* active, double* loss,
               int64_t* correct, uint8_t* status, AdamConstants c, int64_t first_step, int64_t batch, int64_t E,
               int64_t N, int64_t P, int64_t H, int64_t C, int threads) {
  const auto tensors = [&](int64_t part, int64_t e) {
    const auto pick = [&](T* parameter, int k) {
      return part == 0 ? parameter : reinterpret_cast<T*>(static_cast<std::intptr_t>(moments[(part - 1) * 4 + k]));
    };
    return MlpTensors<T>{pick(rows, 0) + e * 2 * P * H, pick(bias1, 1) + e * H, pick(weight, 2) + e * C * H,
                         pick(bias2, 3) + e * C};
  };
  parallel_for(E, threads, [&](int64_t e) {
    if (!active[e]) return;
    static thread_local Trainer<T> trainer;
    static thread_local Buffer<AdamStep<T>> steps;
    const int64_t batches = (N + batch - 1) / batch;
    steps.fit(batches);
    for (int64_t b = 0; b < batches; ++b) {
      const double t = static_cast<double>(first_step + b);
      steps[b] = adam_step<T>(lr[e], 1 - std::pow(c.beta1, t), 1 - std::pow(c.beta2, t));
    }
    trainer.net.fit(P, H, C);
    for (int64_t part = 0; part < 3; ++part) trainer.net.load(tensors(part, e), part);
    const AdamRule<T> rule(c.beta1, c.beta2, c.eps, lr[e], decay[e], c.decoupled);
    status[e] = !trainer.epoch(pairs + e * N * 2, labels + e * N, N, batch, rule, steps.data(), loss + e, correct + e);
    for (int64_t part = 0; part < 3 && !status[e]; ++part) trainer.net.store(tensors(part, e), part);
  });
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                     \
  void mlp_epoch_##SUFFIX(T* rows, T* bias1, T* weight, T* bias2, const int64_t* moments, const int64_t* pairs,        \
                          const int64_t* labels, const double* lr, const double* decay, const uint8_t* active,         \
                          double* loss, int64_t* correct, uint8_t* status, AdamConstants constants, int64_t step,      \
                          int64_t batch, int64_t E, int64_t N, int64_t P, int64_t H, int64_t C, int threads) {         \
    mlp_epoch(rows, bias1, weight, bias2, moments, pairs, labels, lr, decay, active, loss, correct, status, constants, \
              step, batch, E, N, P, H, C, threads);                                                                    \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::GROKFAST_ISA
