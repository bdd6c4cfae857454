// Whole epochs with Adam, and test passes between them, of convolutions with pooling and then linear layers: one launch
// for up to 64 epochs, one block a member. Parameters and moments lie in shared memory meanwhile, where they fit.
#include "adam.cuh"
#include "cnn_layers.cuh"
#include "grokfast/training.hpp"

namespace grokfast::cuda {
namespace {

constexpr int64_t kTestRows = 256;           // samples of a test pass at once
constexpr int64_t kStaticShared = 20 * 1024;  // at most what the kernel has besides

// What a launch trains on and answers.
template <typename T, typename X>
struct Work {
  const X *x, *test_x;  // those of the next member are so many elements on:
  int64_t x_step, test_step;
  const int64_t *labels, *test_labels;
  const double *lr, *decay;
  uint8_t* active;
  double *loss, *test_loss;  // [epochs, E]
  int64_t *correct, *test_correct;
  int64_t E, N, M, epochs, batch, step;
  uint64_t tested;  // bit k: epoch k ends with a test pass
};

template <typename T>
struct CnnMoments {
  T* of[2][2 * kMostLayers];  // means and squares, weight and bias of each layer
};

// Copies a member's parameters, means and squares between their places and `own` [3, parameters].
template <bool Back, typename T>
__device__ void move(const Cnn<T>& net, const CnnMoments<T>& moments, int64_t e, T* own) {
  for (int l = 0; l < net.depth; ++l) {
    const CnnLayer<T>& layer = net.layers[l];
    const int64_t sizes[2] = {layer.weights(), layer.shape.O};
    for (int kind = 0; kind < 3; ++kind)
      for (int part = 0; part < 2; ++part) {
        T* there = kind > 0 ? moments.of[kind - 1][2 * l + part] : part == 0 ? layer.weight : layer.bias;
        T* here = own + kind * net.parameters + layer.start + (part == 0 ? 0 : sizes[0]);
        for (int64_t k = threadIdx.x; k < sizes[part]; k += kThreads)
          if (Back)
            there[e * sizes[part] + k] = here[k];
          else
            here[k] = there[e * sizes[part] + k];
      }
  }
}

template <typename T, typename X>
__global__ void epochs_kernel(Cnn<T> net, CnnMoments<T> moments, Work<T, X> work, AdamConstants constants,
                              unsigned char* scratch, int64_t each, bool resident) {
  __shared__ ProductTiles<T> tiles;
  const CnnRoom<T> room(net, scratch + blockIdx.x * each);
  const int64_t n = net.parameters, E = work.E, N = work.N;
  T* gradient = reinterpret_cast<T*>(scratch + blockIdx.x * each + net.bytes());
  T* own = resident ? dynamic_shared<T>() : gradient + n;
  const auto view = [&](int l) {
    const int64_t weight = net.layers[l].start, bias = weight + net.layers[l].weights();
    return CnnView<T>{own + weight, own + bias, gradient + weight, gradient + bias};
  };
  for (int64_t e = blockIdx.x; e < E; e += gridDim.x) {
    if (!work.active[e]) continue;
    move<false>(net, moments, e, own);
    __syncthreads();
    const X *pictures = work.x + e * work.x_step, *tests = work.test_x + e * work.test_step;
    bool finite = true;
    int64_t t = work.step;
    for (int64_t epoch = 0; epoch < work.epochs && finite; ++epoch) {
      Tally total = {0, 0}, test = {0, 0};
      for (int64_t first = 0; first < N; first += work.batch, ++t) {
        const int64_t count = N - first < work.batch ? N - first : work.batch;
        const X* here = pictures + first * net.layers[0].shape.pixels();
        const Tally sum = cnn_forward(tiles, net, view, room, count, here, work.labels + e * N + first, true);
        total.loss += sum.loss;
        total.hits += sum.hits;
        finite = T(sum.loss / count) - T(sum.loss / count) == T(0);
        if (!finite) break;  // the member stays as it was before this batch
        cnn_backward(tiles, net, view, room, count, here);
        const AdamStep<T> adam(constants, 1 - pow(constants.beta1, double(t)), 1 - pow(constants.beta2, double(t)),
                               work.lr[e], work.decay[e]);
        for (int64_t k = threadIdx.x; k < n; k += kThreads) adam(own[k], own[n + k], own[2 * n + k], gradient[k]);
        __syncthreads();
      }
      const bool tested = work.tested >> epoch & 1;
      for (int64_t first = 0; first < work.M && tested && finite; first += net.rows) {
        const int64_t count = work.M - first < net.rows ? work.M - first : net.rows;
        const Tally sum = cnn_forward(tiles, net, view, room, count, tests + first * net.layers[0].shape.pixels(),
                                      work.test_labels + e * work.M + first, false);
        test.loss += sum.loss;
        test.hits += sum.hits;
      }
      if (tested && finite) finite = T(test.loss / work.M) - T(test.loss / work.M) == T(0);
      if (threadIdx.x == 0 && finite) {
        work.loss[epoch * E + e] = total.loss / N;
        work.correct[epoch * E + e] = total.hits;
        if (tested) work.test_loss[epoch * E + e] = test.loss / work.M;
        if (tested) work.test_correct[epoch * E + e] = test.hits;
      }
    }
    __syncthreads();  // all have seen that the member was active
    if (threadIdx.x == 0 && !finite) work.active[e] = 0;
    move<true>(net, moments, e, own);
    __syncthreads();
  }
}

// The dynamic shared memory that a block may have on this device beside the kernel's own; 0 if nobody can say.
int64_t shared_room() {
  int device = 0, bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess ||
      cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) != cudaSuccess)
    return 0;
  return bytes > kStaticShared ? bytes - kStaticShared : 0;
}

template <typename T, typename X>
int run(Cnn<T> net, const CnnMoments<T>& moments, const Work<T, X>& work, const AdamConstants& constants,
        void* stream) {
  const int64_t parameters = net.parameters * sizeof(T);
  const bool resident = 3 * parameters <= shared_room();
  const int64_t each = (net.bytes() + (resident ? 1 : 4) * parameters + 15) / 16 * 16;
  const int64_t blocks = blocks_within(work.E, each);
  const Scratch scratch(blocks * each, stream);
  if (scratch.status() != 0) return scratch.status();
  return launch(epochs_kernel<T, X>, {blocks}, kThreads, resident ? 3 * parameters : 0, stream, net, moments, work,
                constants, scratch.as<unsigned char>(), each, resident);
}

template <typename T>
int epochs(const void* x, bool bytes, int64_t x_step, const void* test_x, int64_t test_step, const int64_t* params,
           const int64_t* moments, const int64_t* spec, const int64_t* labels, const int64_t* test_labels,
           const double* lr, const double* decay, uint8_t* active, double* loss, int64_t* correct, double* test_loss,
           int64_t* test_correct, AdamConstants constants, int64_t step, int64_t epochs, uint64_t tested, int64_t batch,
           int64_t E, int64_t N, int64_t M, int64_t convs, int64_t linears, int64_t C, int64_t height, int64_t width,
           void* stream) {
  if (convs + linears > kMostLayers || epochs > 64) return cudaErrorInvalidValue;
  const int64_t most = batch < N ? batch : N, at_once = M < kTestRows ? M : kTestRows;
  const Cnn<T> net(params, nullptr, spec, convs, linears, C, height, width, most > at_once ? most : at_once);
  CnnMoments<T> own = {};
  for (int kind = 0; kind < 2; ++kind)
    for (int k = 0; k < 2 * net.depth; ++k) own.of[kind][k] = reinterpret_cast<T*>(moments[kind * 2 * net.depth + k]);
  const auto start = [&](auto like) {
    using X = decltype(like);
    const Work<T, X> work = {static_cast<const X*>(x), static_cast<const X*>(test_x), x_step, test_step, labels,
                             test_labels, lr, decay, active, loss, test_loss, correct, test_correct, E, N, M, epochs,
                             batch, step, tested};
    return run<T, X>(net, own, work, constants, stream);
  };
  return bytes ? start(int8_t()) : start(T());
}

}  // namespace

#define GROKFAST_DEFINE(T, SUFFIX)                                                                                     \
  int cnn_epochs_##SUFFIX(const void* x, bool bytes, int64_t x_step, const void* test_x, int64_t test_step,            \
                          const int64_t* params, const int64_t* moments, const int64_t* spec, const int64_t* labels,   \
                          const int64_t* test_labels, const double* lr, const double* decay, uint8_t* active,          \
                          double* loss, int64_t* correct, double* test_loss, int64_t* test_correct,                    \
                          AdamConstants constants, int64_t step, int64_t count, uint64_t tested, int64_t batch,        \
                          int64_t E, int64_t N, int64_t M, int64_t convs, int64_t linears, int64_t C, int64_t height,  \
                          int64_t width, void* stream) {                                                               \
    return epochs<T>(x, bytes, x_step, test_x, test_step, params, moments, spec, labels, test_labels, lr, decay,       \
                     active, loss, correct, test_loss, test_correct, constants, step, count, tested, batch, E, N, M,   \
                     convs, linears, C, height, width, stream);                                                        \
  }
GROKFAST_DEFINE(float, f32)
GROKFAST_DEFINE(double, f64)

}  // namespace grokfast::cuda
