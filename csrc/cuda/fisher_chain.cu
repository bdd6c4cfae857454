// The Fisher diagonal of a chain of layers, in double precision: a block takes a range of samples of one member, each
// forward once and back once a label, and keeps sums of squares of its own; a second launch adds the ranges up in
// order.
#include <vector>

#include "chain_layers.cuh"
#include "grokfast/fisher.hpp"

namespace grokfast::cuda {
namespace {

constexpr int64_t kRanges = 64;  // of samples; it must not depend on the stack, or a member's bits would

// A chain on the device: its layers, and by parameter its address, its size (per member), where its squares begin among
// a member's, and the address of the result.
struct Chain {
  const ChainLayer* layers;
  const int64_t *addresses, *sizes, *starts, *results;
  int64_t depth, parameters, inputs, values, widest, total;  // values: of x and all layers' outputs; total: squares

  // Doubles of scratch memory: values, places of maxima, two gradients, probabilities.
  __host__ __device__ int64_t room() const { return 2 * values + 3 * widest; }
};

// Softmax p [C] of f by the first warp, and whether all of f is finite; all threads of the block call it.
__device__ bool softmax(const double* f, double* p, int64_t C) {
  __shared__ double of_all[2];
  if (threadIdx.x < 32) {
    double top = f[0], spoilt = 0, total = 0;
    for (int64_t c = threadIdx.x; c < C; c += 32) {
      top = f[c] > top ? f[c] : top;
      spoilt += f[c] - f[c];
    }
    for (int offset = 16; offset > 0; offset /= 2) {
      const double other = __shfl_xor_sync(0xffffffffu, top, offset);
      top = other > top ? other : top;
    }
    for (int64_t c = threadIdx.x; c < C; c += 32) {
      p[c] = exp(f[c] - top);
      total += p[c];
    }
    total = warp_sum(total);
    spoilt = warp_sum(spoilt);
    if (threadIdx.x == 0) {
      of_all[0] = total;
      of_all[1] = spoilt;
    }
  }
  __syncthreads();
  for (int64_t c = threadIdx.x; c < C; c += kThreads) p[c] /= of_all[0];
  const bool finite = of_all[1] == 0;
  __syncthreads();
  return finite;
}

template <typename T>
__global__ void range_kernel(Chain chain, const T* x, const int64_t* labels, double* squares, int64_t* flags,
                             double* scratch, int64_t E, int64_t N, int64_t S, int64_t mode) {
  double* acts = scratch + blockIdx.x * chain.room();
  auto* maxima = reinterpret_cast<int64_t*>(acts + chain.values);
  double *g = acts + 2 * chain.values, *next = g + chain.widest, *p = next + chain.widest;
  const ChainLayer& last = chain.layers[chain.depth - 1];
  const int64_t C = last.outputs(), ranges = N < kRanges ? N : kRanges;
  for (int64_t work = blockIdx.x; work < E * ranges; work += gridDim.x) {
    const int64_t e = work / ranges, range = work % ranges;
    double* sums = squares + work * chain.total;
    for (int64_t k = threadIdx.x; k < chain.total; k += kThreads) sums[k] = 0;
    bool finite = true;
    for (int64_t n = N * range / ranges; finite && n < N * (range + 1) / ranges; ++n) {
      for (int64_t k = threadIdx.x; k < chain.inputs; k += kThreads) acts[k] = double(x[n * chain.inputs + k]);
      __syncthreads();
      for (int64_t l = 0; l < chain.depth; ++l) {
        const ChainLayer& layer = chain.layers[l];
        layer_forward<T>(layer, layer.of<T>(layer.weight, chain.addresses, chain.sizes, e),
                         layer.of<T>(layer.bias, chain.addresses, chain.sizes, e), acts + layer.before,
                         acts + layer.after, maxima + layer.after);
        __syncthreads();
      }
      finite = softmax(acts + last.after, p, C);
      const int64_t terms = !finite ? 0 : mode == kGiven ? S : C;
      for (int64_t term = 0; term < terms; ++term) {
        const int64_t centre = mode == kGiven ? labels[(e * S + term) * N + n] : term;
        const double weight = mode == kSoftmax ? p[term] : 1;
        for (int64_t c = threadIdx.x; c < C; c += kThreads) g[c] = (c == centre) - (mode == kGaussian ? 0 : p[c]);
        __syncthreads();
        for (int64_t l = chain.depth - 1; l >= 0; --l) {
          const ChainLayer& layer = chain.layers[l];
          layer_squares(layer, g, acts + layer.before, weight,
                        layer.weight < 0 ? nullptr : sums + chain.starts[layer.weight],
                        layer.bias < 0 ? nullptr : sums + chain.starts[layer.bias]);
          if (l > 0)
            layer_backward<T>(layer, layer.of<T>(layer.weight, chain.addresses, chain.sizes, e), g, acts + layer.after,
                              maxima + layer.after, next);
          __syncthreads();
          double* swap = g;
          g = next;
          next = swap;
        }
      }
    }
    if (threadIdx.x == 0) flags[work] = finite ? 0 : 1;
    __syncthreads();
  }
}

template <typename T>
__global__ void total_kernel(Chain chain, const double* squares, const int64_t* flags, int64_t* status,
                             int64_t first_member, int64_t E, int64_t ranges) {
  for (int64_t k = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; k < E * chain.total;
       k += int64_t(gridDim.x) * blockDim.x) {
    const int64_t e = k / chain.total, at = k % chain.total;
    double sum = 0;
    for (int64_t range = 0; range < ranges; ++range) sum += squares[(e * ranges + range) * chain.total + at];
    int64_t parameter = 0;
    while (parameter + 1 < chain.parameters && chain.starts[parameter + 1] <= at) ++parameter;
    auto* to = reinterpret_cast<T*>(chain.results[parameter]);
    to[(first_member + e) * chain.sizes[parameter] + at - chain.starts[parameter]] = T(sum);
    if (at != 0) continue;
    int64_t state = 0;
    for (int64_t range = 0; range < ranges; ++range) state = flags[e * ranges + range] ? 1 : state;
    status[first_member + e] = state;
  }
}

template <typename T>
int run_chain(const T* x, const int64_t* addresses, const int64_t* sizes, const int64_t* results, const int64_t* spec,
              const int64_t* labels, int64_t* status, int64_t E, int64_t N, int64_t depth, int64_t parameters,
              int64_t S, int64_t mode, void* stream) {
  Chain chain = {};
  chain.depth = depth;
  chain.parameters = parameters;
  std::vector<ChainLayer> layers(depth);
  for (int64_t l = 0; l < depth; ++l) {
    ChainLayer& layer = layers[l];
    layer.read(spec + l * kChainFields);
    if (l == 0) chain.inputs = chain.values = layer.inputs();
    layer.before = l == 0 ? 0 : layers[l - 1].after;
    layer.after = chain.values;
    chain.values += layer.outputs();
    const int64_t wide = layer.inputs() > layer.outputs() ? layer.inputs() : layer.outputs();
    chain.widest = chain.widest > wide ? chain.widest : wide;
  }
  std::vector<int64_t> numbers(addresses, addresses + parameters);
  numbers.insert(numbers.end(), sizes, sizes + parameters);
  for (int64_t k = 0; k < parameters; ++k) {
    numbers.push_back(chain.total);
    chain.total += sizes[k];
  }
  numbers.insert(numbers.end(), results, results + parameters);

  const int64_t ranges = N < kRanges ? N : kRanges, table = depth * sizeof(ChainLayer);
  const int64_t head = table + 4 * parameters * sizeof(int64_t);
  const int64_t each = ranges * (chain.total * sizeof(double) + sizeof(int64_t));
  const int64_t group = blocks_within(E, each);
  const int64_t blocks = blocks_within(group * ranges, chain.room() * sizeof(double));
  const Scratch scratch(head + group * each + blocks * chain.room() * sizeof(double), stream);
  if (scratch.status() != 0) return scratch.status();
  auto* queue = static_cast<cudaStream_t>(stream);
  // From memory that is not pinned: what is copied is read before the call returns.
  int error = cudaMemcpyAsync(scratch.as<void>(), layers.data(), table, cudaMemcpyHostToDevice, queue);
  if (error == 0)
    error = cudaMemcpyAsync(scratch.as<void>(table), numbers.data(), numbers.size() * sizeof(int64_t),
                            cudaMemcpyHostToDevice, queue);
  if (error != 0) return error;
  chain.layers = scratch.as<ChainLayer>();
  chain.addresses = scratch.as<int64_t>(table);
  chain.sizes = chain.addresses + parameters;
  chain.starts = chain.sizes + parameters;
  chain.results = chain.starts + parameters;
  auto* squares = scratch.as<double>(head);
  auto* flags = reinterpret_cast<int64_t*>(squares + group * ranges * chain.total);
  auto* room = reinterpret_cast<double*>(flags + group * ranges);
  for (int64_t first = 0; error == 0 && first < E; first += group) {
    const int64_t members = E - first < group ? E - first : group;
    std::vector<int64_t> moved(numbers.begin(), numbers.begin() + parameters);
    if (first > 0) {
      for (int64_t k = 0; k < parameters; ++k) moved[k] += first * sizes[k] * static_cast<int64_t>(sizeof(T));
      error = cudaMemcpyAsync(scratch.as<void>(table), moved.data(), parameters * sizeof(int64_t),
                              cudaMemcpyHostToDevice, queue);
    }
    const int64_t* own = labels ? labels + first * S * N : nullptr;
    if (error == 0)
      error = launch(range_kernel<T>, {blocks < members * ranges ? blocks : members * ranges}, kThreads, 0, stream,
                     chain, x, own, squares, flags, room, members, N, S, mode);
    if (error == 0)
      error = launch(total_kernel<T>, {blocks_for(members * chain.total)}, kThreads, 0, stream, chain, squares, flags,
                     status, first, members, ranges);
  }
  return error;
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                     \
  int fisher_chain_##SUFFIX(const T* x, const int64_t* addresses, const int64_t* sizes, const int64_t* results,        \
                            const int64_t* spec, const int64_t* labels, int64_t* status, int64_t E, int64_t N,         \
                            int64_t depth, int64_t parameters, int64_t S, int64_t mode, void* stream) {                \
    return run_chain<T>(x, addresses, sizes, results, spec, labels, status, E, N, depth, parameters, S, mode, stream); \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::cuda
