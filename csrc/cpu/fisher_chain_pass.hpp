// One pass of fisher_chain.cpp over a range of samples: forward, back once per column of labels, squares taken in cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "fisher_chain_plan.hpp"
#include "grokfast/fisher.hpp"
#include "grokfast/fisher_softmax.hpp"

namespace grokfast::GROKFAST_ISA {
namespace {  // nothing here may be shared between objects: cmake/check_symbols.cmake

constexpr int64_t kBatch = 16;             // lane blocks per product of squares
constexpr double kSinglePrecision = 12.0;  // logits beyond this are to be recomputed in double

// kUnbounded: a block's convolution might overflow, and the negative side of that would be lost in its ReLU.
enum Status : int64_t { kGood = 0, kNotFinite = 1, kLarge = 3, kUnbounded = 4 };

// The buffers of one task and its passes.
template <typename T>
struct ChainPass {
  using A = Lanes<T>;
  using B = ConvLanes<T>;
  using S = Simd<T>;
  static constexpr int64_t L = A::L;
  const ChainPlan<T>& plan;
  const int64_t batch;  // lane blocks per product of squares
  Array<Array<T>> out, padded;  // by layer: its output; its input with zeros around
  Array<Array<typename B::Code>> codes;  // by block: who won in each window
  Array<Array<T>> full;                  // by block: the gradient before pooling, with a border of zeros
  Array<T> input, g, g_next, g_padded, masked, sums, sides;
  Array<Array<T>> squares_in, squares_g;  // by linear layer: `batch` blocks of a^2 and pooled g^2
  Array<T> total;
  int64_t blocks = 0;  // lane blocks waiting in squares_*

  ChainPass(const ChainPlan<T>& p, int64_t lane_blocks)
      : plan(p), batch(std::clamp<int64_t>(lane_blocks, 1, kBatch)), out(p.depth), padded(p.depth), codes(p.depth),
        full(p.depth), squares_in(p.depth), squares_g(p.depth), total(p.total_size, T(0)) {
    int64_t largest = 0, widest = 0;
    for (int64_t l = 0; l < p.depth; ++l) {
      const Layer& k = p.layers[l];
      largest = std::max(largest, k.in_size());
      if (p.block_at(l)) {
        make_block(l);
        l += 2;
        continue;
      }
      largest = std::max(largest, k.size());
      if (k.kind != kRelu) out[l].resize(k.size() * L);
      if (k.kind == kConv) {
        padded[l].resize(k.channels_in * padded_h(k) * padded_w(k) * L);
        widest = std::max(widest, k.channels * back_h(k) * back_w(k));
      }
      if (k.kind == kLinear) {
        squares_in[l].resize(batch * k.in_size() * L);
        squares_g[l].resize(batch * k.channels * L);
      }
    }
    g.resize(largest * L);
    g_next.resize(largest * L);
    g_padded.resize(widest * L);
    if (!p.block_at(0)) input.resize(p.layers[0].in_size() * L);
  }

  void make_block(int64_t l) {
    const ConvBlock& b = plan.blocks[l];
    padded[l].resize(B::input_size(b));
    codes[l].resize(B::pooled_size(b));
    if (l > plan.first_parameter) full[l].resize(B::full_size(b));
    if (!plan.block_at(l + 3)) out[l + 2].resize(B::pooled_size(b));
    if (masked.size() < B::pooled_size(b)) masked.resize(B::pooled_size(b));
    if (sums.size() < (b.weights() + b.outputs) * L) sums.resize((b.weights() + b.outputs) * L);
  }

  // The gradient image of a convolution, spread by the stride, with room for the mirrored kernel at every input.
  static int64_t back_h(const Layer& k) { return k.height_in + (k.kernel_h - 1) * k.dilation_h; }
  static int64_t back_w(const Layer& k) { return k.width_in + (k.kernel_w - 1) * k.dilation_w; }

  T* output(int64_t l) {
    while (l >= 0 && plan.layers[l].kind == kRelu) --l;
    return l < 0 ? input.data() : out[l].data();
  }

  Status forward() {
    for (int64_t l = 0; l < plan.depth; ++l) {
      if (plan.block_at(l)) {
        if (!block_forward(l)) return kUnbounded;
        l += 2;
        continue;
      }
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
      if (k.weight >= 0 && !A::finite(out[l].data(), k.size())) return kNotFinite;
    }
    return kGood;
  }

  // False if the convolution might overflow.
  bool block_forward(int64_t l) {
    const ConvBlock& b = plan.blocks[l];
    T* in = padded[l].data();
    if (l > 0 && !plan.block_at(l - 3)) copy_inside(output(l - 1), b, B::inside(b, in));
    const double bound = plan.reach[l] * std::max(1.0, A::largest(in, B::input_size(b) / L));
    if (!(bound < std::numeric_limits<T>::max() / 4)) return false;
    const bool next = plan.block_at(l + 3);
    const LaneMap<T> pooled =
        next ? B::inside(plan.blocks[l + 3], padded[l + 3].data()) : B::pooled_map(b, out[l + 2].data());
    B::template forward<true>(in, b, plan.forward[l].data(), plan.biases[l].data(), pooled, codes[l].data());
    return true;
  }

  static void copy_inside(const T* from, const ConvBlock& b, LaneMap<T> to) {
    for (int64_t c = 0; c < b.channels; ++c)
      for (int64_t y = 0; y < b.height; ++y, from += b.width * L) std::copy_n(from, b.width * L, to.at(c, y, 0));
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
      if (plan.block_at(l - 2)) {
        l -= 2;
        block_backward(l);
        continue;
      }
      switch (k.kind) {
        case kRelu: A::mask(g.data(), output(l), k.size()); continue;
        case kMaxPool:
          A::max_pool_back(output(l - 1), out[l].data(), g.data(), k, g_next.data());
          break;
        case kLinear: {
          T* pool = squares_g[l].data() + blocks * k.channels * L;
          add_squares(g.data(), k.channels * L, pool);
          if (further) A::linear(g.data(), k.channels, plan.backward[l].data(), nullptr, k.in_size(), g_next.data());
          break;
        }
        default: conv_backward(l, further);
      }
      g.swap(g_next);
    }
  }

  // Per-lane sums over windows, squared into the totals; then the gradient of the block's inputs.
  void block_backward(int64_t l) {
    const ConvBlock& b = plan.blocks[l];
    const LaneMap<T> top = B::pooled_map(b, g.data());
    T* bias = sums.data() + b.weights() * L;
    std::fill_n(sums.data(), (b.weights() + b.outputs) * L, T(0));
    B::mask_gradient({top.start, top.channel, top.row, top.pixel}, b, codes[l].data(), masked.data(), bias);
    B::weight_gradient(padded[l].data(), masked.data(), codes[l].data(), b, sums.data());
    add_squares(sums.data(), b.weights() * L, total.data() + plan.totals[2 * l]);
    if (plan.layers[l].bias >= 0) add_squares(bias, b.outputs * L, total.data() + plan.totals[2 * l + 1]);
    if (l == plan.first_parameter) return;
    B::spread(masked.data(), codes[l].data(), b, full[l].data());
    B::input_gradient(full[l].data(), b, plan.backward[l].data(), B::even_map(b, g.data()));
  }

  static void add_squares(const T* from, int64_t size, T* to) {
    for (int64_t k = 0; k < size; ++k) to[k] += from[k] * from[k];
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
      const Layer& image = plan.layers[0];
      const LaneMap<T> in = plan.block_at(0) ? B::inside(plan.blocks[0], padded[0].data())
                                             : LaneMap<T>{input.data(), image.height_in * image.width_in * L,
                                                          image.width_in * L, L};
      pack_lanes(x + n0 * pixels, samples, image.channels_in, image.height_in, image.width_in, in);
      const Status status = forward();
      if (status != kGood) return status;
      bool large = false;
      const int64_t count = columns(mode, labels, N, sets, n0, samples, &large);
      if (large) return kLarge;
      clear_pools();
      for (int64_t column = 0; column < count; ++column) {
        std::copy_n(sides.data() + column * C * L, C * L, g.data());
        backward();
      }
      if (++blocks == batch) flush();
    }
    flush();
    return kGood;
  }
};

}  // namespace
}  // namespace grokfast::GROKFAST_ISA
