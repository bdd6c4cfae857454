// Fisher diagonal of a chain of convolutions, ReLUs, max poolings and linear layers in one pass: a block of samples,
// one per vector lane, goes forward, back once per column of labels, and its squares are taken, all in cache.
//
// Convolution: per-lane sums over positions, squared into per-lane totals. Linear: g^2 is added up over columns and the
// product (g^2)^T (a^2) is made for some hundred samples at once. The samples go in a fixed number of ranges with totals of
// their own, added up in order, so the answer does not depend on the number of threads.
#include <algorithm>
#include <cmath>
#include <limits>

#include "grokfast/fisher.hpp"
#include "grokfast/fisher_lanes.hpp"
#include "grokfast/fisher_softmax.hpp"
#include "grokfast/parallel.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {

constexpr int64_t kRanges = 4;
constexpr int64_t kBatch = 16;             // lane blocks per product of squares
constexpr double kSinglePrecision = 12.0;  // logits beyond this are to be recomputed in double

int64_t padded_h(const Layer& k) { return k.height_in + 2 * k.pad_h; }
int64_t padded_w(const Layer& k) { return k.width_in + 2 * k.pad_w; }

// What all samples of one member share.
template <typename T>
struct Plan {
  const Layer* layers;
  int64_t depth;
  Array<const T*> parameters;                  // by parameter index
  Array<Array<T>> forward, backward;     // packed weights by layer
  Array<int64_t> totals;                       // where each layer's sums start in a range's totals; weight, bias
  int64_t total_size = 0;
  int64_t first_parameter;                           // no gradient is needed below this layer

  Plan(const Layer* all, int64_t count, const int64_t* addresses, const int64_t* sizes, int64_t parameter_count,
       int64_t e)
      : layers(all), depth(count), forward(count), backward(count), totals(2 * count, -1), first_parameter(count) {
    for (int64_t p = 0; p < parameter_count; ++p)
      parameters.push_back(reinterpret_cast<const T*>(addresses[p]) + e * sizes[p]);
    for (int64_t l = 0; l < depth; ++l) {
      const Layer& k = layers[l];
      if (k.weight < 0) continue;
      first_parameter = std::min(first_parameter, l);
      const T* w = parameters[k.weight];
      const int64_t taps = k.kind == kConv ? k.taps() : 1, inputs = k.kind == kConv ? k.channels_in : k.in_size();
      forward[l] = pack_outputs<T>(k.channels, inputs * taps, [=](int64_t o, int64_t i) { return w[o * inputs * taps + i]; });
      // The gradient is a convolution with the mirrored kernel and channels exchanged.
      backward[l] = pack_outputs<T>(inputs, k.channels * taps, [=](int64_t c, int64_t i) {
        return w[(i / taps * inputs + c) * taps + taps - 1 - i % taps];
      });
      const int64_t lanes = k.kind == kConv ? Simd<T>::lanes : 1;
      totals[2 * l] = total_size;
      total_size += k.channels * inputs * taps * lanes;
      if (k.bias >= 0) {
        totals[2 * l + 1] = total_size;
        total_size += k.channels * Simd<T>::lanes;
      }
    }
  }
};

enum Status : int64_t { kGood = 0, kNotFinite = 1, kLarge = 3 };

// The buffers of one task and its passes.
template <typename T>
struct Runner {
  using A = Lanes<T>;
  using S = Simd<T>;
  static constexpr int64_t L = A::L;
  const Plan<T>& plan;
  Array<Array<T>> out, padded;      // by layer: its output; its input with zeros around
  Array<T> input, g, g_next, g_padded, sides;
  Array<Array<T>> squares_in, squares_g;  // by linear layer: kBatch blocks of a^2 and pooled g^2
  Array<T> total;
  int64_t blocks = 0;                           // lane blocks waiting in squares_*

  explicit Runner(const Plan<T>& p)
      : plan(p), out(p.depth), padded(p.depth), squares_in(p.depth), squares_g(p.depth),
        total(p.total_size, T(0)) {
    int64_t largest = 0, widest = 0;
    for (int64_t l = 0; l < p.depth; ++l) {
      const Layer& k = p.layers[l];
      largest = std::max(largest, std::max(k.in_size(), k.size()));
      if (k.kind != kRelu) out[l].resize(k.size() * L);
      if (k.kind == kConv) {
        padded[l].resize(k.channels_in * padded_h(k) * padded_w(k) * L);
        widest = std::max(widest, k.channels * back_h(k) * back_w(k));
      }
      if (k.kind == kLinear) {
        squares_in[l].resize(kBatch * k.in_size() * L);
        squares_g[l].resize(kBatch * k.channels * L);
      }
    }
    g.resize(largest * L);
    g_next.resize(largest * L);
    g_padded.resize(widest * L);
    input.resize(p.layers[0].in_size() * L);
  }

  // The gradient image of a convolution, spread by the stride, with room for the mirrored kernel at every input.
  static int64_t back_h(const Layer& k) { return k.height_in + (k.kernel_h - 1) * k.dilation_h; }
  static int64_t back_w(const Layer& k) { return k.width_in + (k.kernel_w - 1) * k.dilation_w; }

  T* output(int64_t l) {
    while (l >= 0 && plan.layers[l].kind == kRelu) --l;
    return l < 0 ? input.data() : out[l].data();
  }

  bool forward() {
    for (int64_t l = 0; l < plan.depth; ++l) {
      const Layer& k = plan.layers[l];
      const T* in = output(l - 1);
      const T* bias = k.bias < 0 ? nullptr : plan.parameters[k.bias];
      switch (k.kind) {
        case kConv:
          A::place(in, k.channels_in, {k.height_in, k.width_in}, padded[l].data(), {padded_h(k), padded_w(k)}, k.pad_h,
                   k.pad_w, 1, 1);
          A::conv(padded[l].data(), k.channels_in, {padded_h(k), padded_w(k)}, plan.forward[l].data(), bias, k,
                  k.channels, {k.height, k.width}, out[l].data());
          break;
        case kRelu: A::relu(output(l), k.size()); break;
        case kMaxPool: A::max_pool(in, k, out[l].data()); break;
        default:
          A::linear(in, k.in_size(), plan.forward[l].data(), bias, k.channels, out[l].data());
          square(in, squares_in[l].data() + blocks * k.in_size() * L, k.in_size());
      }
      if (k.weight >= 0 && !A::finite(out[l].data(), k.size())) return false;
    }
    return true;
  }

  static void square(const T* from, T* to, int64_t size) {
    for (int64_t k = 0; k < size * L; ++k) to[k] = from[k] * from[k];
  }

  void clear_pools() {
    for (int64_t l = 0; l < plan.depth; ++l) {
      const Layer& k = plan.layers[l];
      if (k.kind == kLinear) std::fill_n(squares_g[l].data() + blocks * k.channels * L, k.channels * L, T(0));
    }
  }

  // One column of labels: the gradient at the outputs, in g, is pulled back and squared.
  void backward() {
    for (int64_t l = plan.depth - 1; l >= plan.first_parameter; --l) {
      const Layer& k = plan.layers[l];
      const bool further = l > plan.first_parameter;
      switch (k.kind) {
        case kRelu: A::mask(g.data(), output(l), k.size()); continue;
        case kMaxPool:
          A::max_pool_back(output(l - 1), out[l].data(), g.data(), k, g_next.data());
          break;
        case kLinear: {
          T* pool = squares_g[l].data() + blocks * k.channels * L;
          for (int64_t j = 0; j < k.channels * L; ++j) pool[j] += g[j] * g[j];
          if (further) A::linear(g.data(), k.channels, plan.backward[l].data(), nullptr, k.in_size(), g_next.data());
          break;
        }
        default: conv_backward(l, further);
      }
      g.swap(g_next);
    }
  }

  void conv_backward(int64_t l, bool further) {
    const Layer& k = plan.layers[l];
    A::conv_squares(padded[l].data(), {padded_h(k), padded_w(k)}, g.data(), k, total.data() + plan.totals[2 * l]);
    if (k.bias >= 0) {
      T* to = total.data() + plan.totals[2 * l + 1];
      for (int64_t o = 0; o < k.channels; ++o) {
        typename S::Vector sum = {};
        for (int64_t p = 0; p < k.height * k.width; ++p) sum += S::load(g.data() + (o * k.height * k.width + p) * L);
        S::store(to + o * L, S::load(to + o * L) + sum * sum);
      }
    }
    if (!further) return;
    A::place(g.data(), k.channels, {k.height, k.width}, g_padded.data(), {back_h(k), back_w(k)},
             (k.kernel_h - 1) * k.dilation_h - k.pad_h, (k.kernel_w - 1) * k.dilation_w - k.pad_w, k.stride_h,
             k.stride_w);
    Layer mirrored = k;
    mirrored.stride_h = mirrored.stride_w = 1;
    A::conv(g_padded.data(), k.channels, {back_h(k), back_w(k)}, plan.backward[l].data(), nullptr, mirrored,
            k.channels_in, {k.height_in, k.width_in}, g_next.data());
  }

  // The waiting blocks of linear layers: (g^2)^T (a^2).
  void flush() {
    if (blocks == 0) return;
    for (int64_t l = 0; l < plan.depth; ++l) {
      const Layer& k = plan.layers[l];
      if (k.kind != kLinear) continue;
      const T *gs = squares_g[l].data(), *as = squares_in[l].data();
      const int64_t outputs = k.channels, inputs = k.in_size();
      gemm_add(
          0, outputs, inputs, blocks * L,
          [=](int64_t n, int64_t o) { return gs[((n / L) * outputs + o) * L + n % L]; },
          [=](int64_t n, int64_t i) { return as[((n / L) * inputs + i) * L + n % L]; },
          total.data() + plan.totals[2 * l], inputs);
      if (k.bias < 0) continue;
      T* to = total.data() + plan.totals[2 * l + 1];
      for (int64_t b = 0; b < blocks; ++b)
        for (int64_t j = 0; j < outputs * L; ++j) to[j] += gs[b * outputs * L + j];
    }
    blocks = 0;
  }

  // Columns of the labels' covariance for every lane, [columns][C][L], zero for lanes without a sample; returns how
  // many, or 0 with `large` set if float32 is not enough.
  int64_t columns(int64_t mode, const int64_t* labels, int64_t N, int64_t sets, int64_t n0, int64_t samples,
                  bool* large) {
    const T* f = output(plan.depth - 1);
    const int64_t C = plan.layers[plan.depth - 1].size();
    const int64_t count = mode == kGaussian ? C : mode == kGiven ? sets : C - 1;
    sides.assign(count * C * L, T(0));
    Array<double> p(C), tail(C + 1);
    for (int64_t j = 0; j < samples; ++j) {
      auto side = [&](int64_t column, int64_t c) -> T& { return sides[(column * C + c) * L + j]; };
      if (mode == kGaussian) {
        for (int64_t c = 0; c < C; ++c) side(c, c) = T(1);
        continue;
      }
      for (int64_t c = 0; c < C; ++c) {
        p[c] = static_cast<double>(f[c * L + j]);
        if (sizeof(T) < sizeof(double) && std::abs(p[c]) > kSinglePrecision) *large = true;
      }
      const int64_t top = softmax(p.data(), C);
      if (mode == kGiven) {
        for (int64_t s = 0; s < sets; ++s) {
          const int64_t label = labels[s * N + n0 + j];
          for (int64_t c = 0; c < C; ++c) side(s, c) = static_cast<T>(p[c]);
          side(s, label) = static_cast<T>(-others(p.data(), C, label));
        }
        continue;
      }
      // The triangular factor, the most probable class last: see softmax_factor in grokfast/fisher/likelihoods.py.
      const auto place = [&](int64_t c) { return c == top ? C - 1 : c == C - 1 ? top : c; };
      tail[C] = 0.0;
      for (int64_t c = C - 1; c >= 0; --c) tail[c] = tail[c + 1] + p[place(c)];
      for (int64_t c = 0; c + 1 < C; ++c) {
        const double here = p[place(c)], after = tail[c + 1], before = tail[c];
        if (here == 0.0) continue;
        side(c, place(c)) = static_cast<T>(std::sqrt(here * after / before));
        const double scale = std::sqrt(here / (after * before));
        for (int64_t i = c + 1; i < C; ++i) side(c, place(i)) = static_cast<T>(-p[place(i)] * scale);
      }
    }
    return count;
  }

  int64_t run(const T* x, const int64_t* labels, int64_t N, int64_t sets, int64_t mode, int64_t first, int64_t last) {
    const int64_t pixels = plan.layers[0].in_size(), C = plan.layers[plan.depth - 1].size();
    for (int64_t n0 = first; n0 < last; n0 += L) {
      const int64_t samples = std::min(L, last - n0);
      for (int64_t k = 0; k < pixels; ++k)
        for (int64_t j = 0; j < L; ++j) input[k * L + j] = j < samples ? x[(n0 + j) * pixels + k] : T(0);
      if (!forward()) return kNotFinite;
      bool large = false;
      const int64_t count = columns(mode, labels, N, sets, n0, samples, &large);
      if (large) return kLarge;
      clear_pools();
      for (int64_t column = 0; column < count; ++column) {
        std::copy_n(sides.data() + column * C * L, C * L, g.data());
        backward();
      }
      if (++blocks == kBatch) flush();
    }
    flush();
    return kGood;
  }
};

template <typename T>
void fisher_chain(const T* x, const int64_t* addresses, const int64_t* sizes, const int64_t* results,
                  const int64_t* spec, const int64_t* labels, int64_t* status, int64_t E, int64_t N, int64_t depth,
                  int64_t parameter_count, int64_t S, int64_t mode, int threads) {
  const Layer* layers = reinterpret_cast<const Layer*>(spec);
  constexpr int64_t L = Simd<T>::lanes;
  const int64_t lane_blocks = panels(N, L), ranges = std::clamp<int64_t>(lane_blocks, 1, kRanges);
  for (int64_t e = 0; e < E; ++e) {
    const Plan<T> plan(layers, depth, addresses, sizes, parameter_count, e);
    Array<Array<T>> totals(ranges);
    Array<int64_t> found(ranges, kGood);
    parallel_for(ranges, threads, [&](int64_t range) {
      Runner<T> runner(plan);
      const int64_t first = lane_blocks * range / ranges * L, last = std::min(N, lane_blocks * (range + 1) / ranges * L);
      found[range] = runner.run(x, labels == nullptr ? nullptr : labels + e * S * N, N, S, mode, first, last);
      totals[range] = std::move(runner.total);
    });
    status[e] = kGood;
    for (const int64_t s : found) status[e] = std::max(status[e], s);
    for (int64_t l = 0; l < depth; ++l)
      for (int part = 0; part < 2; ++part) {
        const Layer& k = layers[l];
        const int64_t index = part == 0 ? k.weight : k.bias;
        if (index < 0) continue;
        const int64_t lanes = part == 1 || k.kind == kConv ? L : 1;
        T* to = reinterpret_cast<T*>(results[index]) + e * sizes[index];
        for (int64_t i = 0; i < sizes[index]; ++i) {
          T sum = T(0);
          for (int64_t range = 0; range < ranges; ++range)
            for (int64_t j = 0; j < lanes; ++j) sum += totals[range][plan.totals[2 * l + part] + i * lanes + j];
          to[i] = sum;
        }
      }
  }
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                  \
  void fisher_chain_##SUFFIX(const T* x, const int64_t* addresses, const int64_t* sizes, const int64_t* results,    \
                             const int64_t* spec, const int64_t* labels, int64_t* status, int64_t E, int64_t N,     \
                             int64_t depth, int64_t parameters, int64_t S, int64_t mode, int threads) {             \
    fisher_chain(x, addresses, sizes, results, spec, labels, status, E, N, depth, parameters, S, mode, threads);    \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::GROKFAST_ISA
