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
#include "columns.hpp"
#include "cross_entropy_row.hpp"
#include "grokfast/parallel.hpp"
#include "grokfast/training.hpp"
#include "mlp_epoch_net.hpp"
#include "mlp_epoch_plan.hpp"
#include "mlp_epoch_tile.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kChunk = kWord;  // hidden units of a forward task
constexpr int kTogether = 4;       // rows updated at a time
#if defined(GROKFAST_ISA_avx512)
constexpr int kTile = 8;  // vectors of classes in registers
#else
constexpr int kTile = 4;
#endif

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
    plan_.make(pairs, N, batch, net.inputs);
    for (int64_t s = 0; s < net.strips; ++s)
      for (int64_t i = 0; i < net.inputs; ++i)
        catch_up(net.row(s, i), rule, steps, plan_.before(i));
    double sum = 0;
    int64_t hits = 0;
    for (int64_t b = 0; b * batch < N; ++b) {
      const int64_t first = b * batch, samples = std::min(batch, N - first);
      forward(pairs + 2 * first, samples);
      const double found = losses(labels + first, samples, &hits);
      if (!std::isfinite(static_cast<T>(found))) return false;
      sum += found;
      for (int64_t s = 0; s < net.strips; ++s) backward(s, b, samples, rule, steps + b);
      update_bias2(samples, rule, steps[b]);
    }
    *loss = sum / static_cast<double>(N);
    *correct = hits;
    return net.is_finite();
  }

 private:
  void fit(int64_t N, int64_t batch) {
    const int64_t padded = (std::min(batch, N) + L - 1) / L * L;
    z_.fit(padded * net.stride);
    d_.fit(padded * net.stride);
    std::fill_n(d_.data(), padded * net.stride, T(0));
    p_.fit(net.classes);
    h_.fit(net.strips * L * padded);
    dh_.fit(L * padded);
    list_.fit(padded + kWord + kListSlack);
    found_.fit(padded);
    dx_.fit(L * padded);
  }

  // The steps of a row before the first batch that touches it.
  static void catch_up(T* row, const AdamRule<T>& rule, const AdamStep<T>* steps, int64_t idle) {
    for (int64_t k = 0; k < idle; ++k) update_at(row, L, Vector{}, rule, steps[k]);
  }

  // Logits of all samples; activations to h_[unit][sample].
  void forward(const int64_t* pairs, int64_t samples) {
    const int64_t padded = (samples + L - 1) / L * L, units = net.strips * L;
    alignas(64) T h[L * kChunk] = {};
    int32_t list[kChunk + kListSlack];
    for (int64_t n0 = 0; n0 < padded; n0 += L) {
      const int64_t here = std::min(L, samples - n0);
      T* z = z_.data() + n0 * net.stride;
      for (int64_t j = 0; j < here; ++j) std::copy_n(net.bias2(), net.stride, z + j * net.stride);
      for (int64_t u0 = 0; u0 < units; u0 += kChunk) {
        const int64_t last = std::min(kChunk, units - u0);
        for (int64_t u = 0; u < last; u += L)
          activations((u0 + u) / L, pairs + 2 * n0, here, h + u, h_.data() + (u0 + u) * padded + n0, padded);
        for (int64_t j = 0; j < here; ++j) {
          const T* mine = h + j * kChunk;
          std::uint64_t bits = 0;
          for (int64_t u = 0; u < last; u += L) bits |= static_cast<std::uint64_t>(nonzero(mine + u)) << u;
          const int count = append(bits, 0, list, 0);
          add_columns([&](int k) { return mine[list[k]]; }, list, count, net.column(u0), 3 * net.stride, net.stride,
                      z + j * net.stride);
        }
      }
    }
  }

  // One strip of up to `L` samples, by sample to h and by unit to columns.
  void activations(int64_t s, const int64_t* pairs, int64_t samples, T* h, T* columns, int64_t padded) {
    const Vector bias = S::load(net.row(s, net.inputs)), zero{};
    Vector block[L];
    for (int64_t j = samples; j < L; ++j) block[j] = zero;
    for (int64_t j = 0; j < samples; ++j) {
      const int64_t one = pairs[2 * j], two = net.inputs / 2 + pairs[2 * j + 1];
      const Vector sum = S::load(net.row(s, one)) + S::load(net.row(s, two)) + bias;
      block[j] = sum < zero ? zero : sum;
      S::store(h + j * kChunk, block[j]);
    }
    transpose<T>(block);
    for (int64_t j = 0; j < L; ++j) S::store(columns + j * padded, block[j]);
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
  void backward(int64_t s, int64_t b, int64_t samples, const AdamRule<T>& rule,
                const AdamStep<T>* step) {
    const int64_t padded = (samples + L - 1) / L * L;
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
      for (int64_t j = 0; j < L; ++j) {
        S::store(dx_.data() + (n0 + j) * L, block[j]);
        g_bias += block[j];
      }
    }
    const int32_t* touching = plan_.samples(b);
    const Touch* touches = plan_.touches(b);
    for (int64_t t = 0, end = plan_.touched(b); t < end;) {
      if (t + kTogether <= end && touches[t].idle == touches[t + kTogether - 1].idle) {
        update_touched<kTogether>(s, touches + t, touching, rule, step);
        t += kTogether;
      } else {
        update_touched<1>(s, touches + t++, touching, rule, step);
      }
    }
    update_at(net.row(s, net.inputs), L, g_bias, rule, *step);
  }

  // Rows with the same number of idle steps: one alone would wait for each step to end before it begins the next.
  template <int Rows>
  void update_touched(int64_t s, const Touch* touches, const int32_t* samples, const AdamRule<T>& rule,
                      const AdamStep<T>* steps) {
    Vector p[Rows], m[Rows], v[Rows];
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const T* row = net.row(s, touches[r].row);
      p[r] = S::load(row), m[r] = S::load(row + L), v[r] = S::load(row + 2 * L);
      Vector g = S::load(dx_.data() + samples[touches[r].first] * L);
      for (int32_t k = touches[r].first + 1; k < touches[r].last; ++k) g += S::load(dx_.data() + samples[k] * L);
      rule.update(p[r], m[r], v[r], g, steps[0]);
    }
    for (int32_t k = 1; k <= touches[0].idle; ++k)
#pragma GCC unroll 8
      for (int r = 0; r < Rows; ++r) rule.update(p[r], m[r], v[r], Vector{}, steps[k]);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      T* row = net.row(s, touches[r].row);
      S::store(row, p[r]), S::store(row + L, m[r]), S::store(row + 2 * L, v[r]);
    }
  }

  // Positions of the samples on which a unit is active, to list_.
  int positions(const T* h, int64_t padded) {
    int count = 0;
    int64_t n = 0;
    for (; n + kWord <= padded; n += kWord)
      count = append(nonzero_word(h + n), static_cast<int>(n), list_.data(), count);
    for (; n < padded; n += L) count = append(nonzero(h + n), static_cast<int>(n), list_.data(), count);
    return count;
  }

  void column_tiles(const T* h, int count, T* column, const AdamRule<T>& rule, AdamStep<T> step) {
    int64_t c = 0;
    const auto tiles = [&](auto vectors) {
      constexpr int V = decltype(vectors)::value;
      for (; c + V * L <= net.stride; c += V * L)
        column_tile<T, V>(h, list_.data(), count, d_.data() + c, net.stride, column + c, found_.data(), rule, step);
    };
    tiles(std::integral_constant<int, kTile>());
    tiles(std::integral_constant<int, 4>());
    tiles(std::integral_constant<int, 2>());
    tiles(std::integral_constant<int, 1>());
  }

  void update_bias2(int64_t samples, const AdamRule<T>& rule, AdamStep<T> step) {
    for (int64_t c = 0; c < net.stride; c += L) {
      Vector g{};
      for (int64_t n = 0; n < samples; ++n) g += S::load(d_.data() + n * net.stride + c);
      update_at(net.bias2() + c, net.stride, g, rule, step);
    }
  }

  Buffer<T> z_, d_;   // [sample][classes]
  Buffer<T> h_, dh_;  // [unit][sample]; dh_ of one strip
  Buffer<T> dx_;      // [sample][lanes]: dh_, transposed
  Buffer<T> p_, found_;
  Buffer<int32_t> list_;
  EpochPlan plan_;
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
