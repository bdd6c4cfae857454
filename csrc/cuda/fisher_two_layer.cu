// The Fisher diagonal of networks with one hidden ReLU layer, all in double precision: first per sample what the
// squares of inputs (v) and of hidden units (a) are weighted with, 64 samples a block; then two products over samples,
// a tile of 64 x 64 entries a block. Members go in groups, whose intermediate results fit 4 GiB.
#include "grokfast/fisher.hpp"
#include "product.cuh"

namespace grokfast::cuda {
namespace {

constexpr int64_t kSamples = 64, kSide = ProductTiles<double>::kSide;

template <typename T>
struct TwoLayer {
  const T *x, *w1, *b1, *w2, *b2;
  const int64_t* labels;
  int64_t N, I, H, C, S, mode;
  __host__ __device__ int64_t chunks() const { return (N + kSamples - 1) / kSamples; }
};

// Of a group of members: squared activations and v [members, N, H], probabilities and a [members, N, C], and of every
// 64 samples 1 if a hidden unit, 2 if an output is not finite.
struct Samples {
  double *h, *v, *p, *a;
  int64_t* flags;
};

// From logits p [C] of one sample its probabilities, and `a`; by one warp. The place of the largest logit.
template <typename T>
__device__ int64_t weigh_outputs(const TwoLayer<T>& net, const int64_t* labels, double* p, double* a) {
  const int lane = threadIdx.x % 32;
  double top = p[0];
  int64_t where = 0;
  for (int64_t c = lane; c < net.C; c += 32)
    if (p[c] > top) {
      top = p[c];
      where = c;
    }
  for (int offset = 16; offset > 0; offset /= 2) {
    const double other = __shfl_xor_sync(0xffffffffu, top, offset);
    const int64_t at = __shfl_xor_sync(0xffffffffu, where, offset);
    if (other > top || (other == top && at < where)) {
      top = other;
      where = at;
    }
  }
  double total = 0;
  for (int64_t c = lane; c < net.C; c += 32) {
    p[c] = exp(p[c] - top);
    total += p[c];
    a[c] = net.mode == kGaussian ? 1 : 0;
  }
  total = warp_sum(total);
  for (int64_t c = lane; c < net.C; c += 32) p[c] /= total;
  for (int64_t s = 0; net.mode != kGaussian && s < net.S; ++s) {
    const int64_t centre = net.mode == kGiven ? labels[s * net.N] : where;
    double rest = 0;
    for (int64_t c = lane; c < net.C; c += 32) rest += c == centre ? 0 : p[c];
    rest = warp_sum(rest);
    for (int64_t c = lane; c < net.C; c += 32)
      a[c] += net.mode == kGiven ? (c == centre ? rest * rest : p[c] * p[c]) : p[c] * (c == centre ? rest : 1 - p[c]);
  }
  return where;
}

// What the squared inputs of one sample are weighted with for active hidden unit j: relative to the centre's weight, so
// that a saturated softmax leaves small numbers, not differences of large ones.
template <typename T>
__device__ double weigh_hidden(const TwoLayer<T>& net, const T* w2, const int64_t* labels, int64_t top, const double* p,
                               int64_t j) {
  double sum = 0;
  if (net.mode == kGaussian) {
    for (int64_t c = 0; c < net.C; ++c) sum += double(w2[c * net.H + j]) * double(w2[c * net.H + j]);
    return sum;
  }
  for (int64_t s = 0; s < net.S; ++s) {
    const double own = w2[(net.mode == kGiven ? labels[s * net.N] : top) * net.H + j];
    double mean = 0, square = 0;
    for (int64_t c = 0; c < net.C; ++c) {
      const double d = double(w2[c * net.H + j]) - own;
      mean += p[c] * d;
      square += p[c] * d * d;
    }
    const double variance = square - mean * mean;
    sum += net.mode == kGiven ? mean * mean : variance > 0 ? variance : 0;
  }
  return sum;
}

template <typename T>
__global__ void samples_kernel(TwoLayer<T> net, Samples to, int64_t first_member, int64_t members) {
  __shared__ ProductTiles<double> tiles;
  __shared__ int64_t tops[kSamples];
  __shared__ int bad[2];
  const int64_t H = net.H, C = net.C, chunks = net.chunks();
  for (int64_t work = blockIdx.x; work < members * chunks; work += gridDim.x) {
    const int64_t e = first_member + work / chunks, first = work % chunks * kSamples;
    const int64_t count = net.N - first < kSamples ? net.N - first : kSamples;
    const int64_t row = work / chunks * net.N + first;
    double *h = to.h + row * H, *v = to.v + row * H, *p = to.p + row * C, *a = to.a + row * C;
    const T *x = net.x + first * net.I, *w1 = net.w1 + e * H * net.I, *w2 = net.w2 + e * C * H;
    const int64_t* labels = net.labels ? net.labels + e * net.S * net.N + first : nullptr;
    if (threadIdx.x < 2) bad[threadIdx.x] = 0;
    bool bad_hidden = false, bad_output = false;
    block_product<true, true>(
        tiles, count, H, net.I, [&](int64_t n, int64_t i) { return double(x[n * net.I + i]); },
        [&](int64_t i, int64_t j) { return double(w1[j * net.I + i]); },
        [&](int64_t n, int64_t j, double sum) {
          const double z = sum + (net.b1 ? double(net.b1[e * H + j]) : 0.0);
          bad_hidden = bad_hidden || !(z - z == 0);
          h[n * H + j] = z < 0 ? 0 : z;
        });
    __syncthreads();
    block_product<true, true>(
        tiles, count, C, H, [&](int64_t n, int64_t k) { return h[n * H + k]; },
        [&](int64_t k, int64_t c) { return double(w2[c * H + k]); },
        [&](int64_t n, int64_t c, double sum) {
          p[n * C + c] = sum + (net.b2 ? double(net.b2[e * C + c]) : 0.0);
          bad_output = bad_output || !(p[n * C + c] - p[n * C + c] == 0);
        });
    if (bad_hidden) atomicMax(&bad[0], 1);
    if (bad_output) atomicMax(&bad[1], 1);
    __syncthreads();
    if (threadIdx.x == 0) to.flags[work] = bad[0] ? 1 : bad[1] ? 2 : 0;
    for (int64_t n = threadIdx.x / 32; n < count; n += kWarps) {
      const int64_t top = weigh_outputs(net, labels ? labels + n : nullptr, p + n * C, a + n * C);
      if (threadIdx.x % 32 == 0) tops[n] = top;
    }
    __syncthreads();
    for (int64_t k = threadIdx.x; k < count * H; k += kThreads) {
      const int64_t n = k / H;
      v[k] = h[k] > 0 ? weigh_hidden(net, w2, labels ? labels + n : nullptr, tops[n], p + n * C, k % H) : 0;
      h[k] *= h[k];
    }
    __syncthreads();
  }
}

// A tile of out_w1 = sum_n v x^2 with out_b1 as one column more, or of out_w2 = sum_n a h^2 with out_b2; and the
// status.
template <typename T>
__global__ void sums_kernel(TwoLayer<T> net, Samples from, T* out_w1, T* out_b1, T* out_w2, T* out_b2, int64_t* status,
                            int64_t first_member, int64_t members) {
  __shared__ ProductTiles<double> tiles;
  const int64_t N = net.N, I = net.I, H = net.H, C = net.C, wide1 = I / kSide + 1, wide2 = H / kSide + 1;
  const int64_t tiles1 = (H + kSide - 1) / kSide * wide1, tiles2 = (C + kSide - 1) / kSide * wide2;
  for (int64_t work = blockIdx.x; work < members * (tiles1 + tiles2); work += gridDim.x) {
    const int64_t group = work / (tiles1 + tiles2), tile = work % (tiles1 + tiles2), e = first_member + group;
    if (tile == 0 && threadIdx.x == 0) {
      int64_t state = 0;
      for (int64_t k = 0; k < net.chunks(); ++k) {
        const int64_t flag = from.flags[group * net.chunks() + k];
        state = flag == 1 || state == 0 ? flag : state;
        if (state == 1) break;
      }
      status[e] = state;
    }
    const double *h = from.h + group * N * H, *v = from.v + group * N * H, *a = from.a + group * N * C;
    if (tile < tiles1) {
      const int64_t j0 = tile / wide1 * kSide, i0 = tile % wide1 * kSide;
      block_product<false, false>(
          tiles, H - j0 < kSide ? H - j0 : kSide, I + 1 - i0 < kSide ? I + 1 - i0 : kSide, N,
          [&](int64_t j, int64_t n) { return v[n * H + j0 + j]; },
          [&](int64_t n, int64_t i) {
            const double value = i0 + i < I ? double(net.x[n * I + i0 + i]) : 1.0;
            return value * value;
          },
          [&](int64_t j, int64_t i, double sum) {
            if (i0 + i < I)
              out_w1[(e * H + j0 + j) * I + i0 + i] = T(sum);
            else if (net.b1)
              out_b1[e * H + j0 + j] = T(sum);
          });
    } else {
      const int64_t c0 = (tile - tiles1) / wide2 * kSide, j0 = (tile - tiles1) % wide2 * kSide;
      block_product<false, false>(
          tiles, C - c0 < kSide ? C - c0 : kSide, H + 1 - j0 < kSide ? H + 1 - j0 : kSide, N,
          [&](int64_t c, int64_t n) { return a[n * C + c0 + c]; },
          [&](int64_t n, int64_t j) { return j0 + j < H ? h[n * H + j0 + j] : 1.0; },
          [&](int64_t c, int64_t j, double sum) {
            if (j0 + j < H)
              out_w2[(e * C + c0 + c) * H + j0 + j] = T(sum);
            else if (net.b2)
              out_b2[e * C + c0 + c] = T(sum);
          });
    }
  }
}

template <typename T>
int two_layer(TwoLayer<T> net, T* out_w1, T* out_b1, T* out_w2, T* out_b2, int64_t* status, int64_t E, void* stream) {
  const int64_t each = (2 * net.H + 2 * net.C) * net.N * sizeof(double) + net.chunks() * sizeof(int64_t);
  const int64_t group = blocks_within(E, each);
  const Scratch scratch(group * each, stream);
  if (scratch.status() != 0) return scratch.status();
  double* h = scratch.as<double>();
  double *v = h + group * net.N * net.H, *p = v + group * net.N * net.H, *a = p + group * net.N * net.C;
  const Samples samples = {h, v, p, a, reinterpret_cast<int64_t*>(a + group * net.N * net.C)};
  const int64_t tiles =
      (net.H + kSide - 1) / kSide * (net.I / kSide + 1) + (net.C + kSide - 1) / kSide * (net.H / kSide + 1);
  for (int64_t first = 0; first < E; first += group) {
    const int64_t members = E - first < group ? E - first : group;
    int error = launch(samples_kernel<T>, {members * net.chunks()}, kThreads, 0, stream, net, samples, first, members);
    if (error == 0)
      error = launch(sums_kernel<T>, {members * tiles}, kThreads, 0, stream, net, samples, out_w1, out_b1, out_w2,
                     out_b2, status, first, members);
    if (error != 0) return error;
  }
  return 0;
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                     \
  int fisher_two_layer_##SUFFIX(const T* x, const T* w1, const T* b1, const T* w2, const T* b2, const int64_t* labels, \
                                T* out_w1, T* out_b1, T* out_w2, T* out_b2, int64_t* status, int64_t E, int64_t N,     \
                                int64_t I, int64_t H, int64_t C, int64_t S, int64_t mode, void* stream) {              \
    return two_layer<T>({x, w1, b1, w2, b2, labels, N, I, H, C, S, mode}, out_w1, out_b1, out_w2, out_b2, status, E,   \
                        stream);                                                                                       \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::cuda
