// One optimiser step for every member of a stack, in place; blockIdx.y strides over members.
#include "adam.cuh"

namespace grokfast::cuda {
namespace {

template <typename T>
__global__ void adam_kernel(T* p, const T* g, T* m, T* v, int64_t E, int64_t n, const double* lr, const double* decay,
                            const uint8_t* active, AdamConstants c) {
  for (int64_t e = blockIdx.y; e < E; e += gridDim.y) {
    if (!active[e]) continue;
    const AdamStep<T> step(c, c.bias_correction1, c.bias_correction2, lr[e], decay[e]);
    for (int64_t k = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; k < n; k += int64_t(gridDim.x) * blockDim.x) {
      const int64_t at = e * n + k;
      step(p[at], m[at], v[at], g[at]);
    }
  }
}

template <typename T>
__global__ void sgd_kernel(T* p, const T* g, T* velocity, int64_t E, int64_t n, const double* lr, const double* decay,
                           const uint8_t* active, double momentum) {
  for (int64_t e = blockIdx.y; e < E; e += gridDim.y) {
    if (!active[e]) continue;
    const T keep = T(momentum), rate = T(lr[e]), l2 = T(decay[e]);
    for (int64_t k = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; k < n; k += int64_t(gridDim.x) * blockDim.x) {
      const int64_t at = e * n + k;
      const T u = keep * velocity[at] + (g[at] + l2 * p[at]);
      velocity[at] = u;
      p[at] -= rate * u;
    }
  }
}

Grid grid(int64_t E, int64_t n) { return {blocks_for(n), E}; }

template <typename T>
int adam(T* p, const T* g, T* m, T* v, int64_t E, int64_t n, const double* lr, const double* decay,
         const uint8_t* active, AdamConstants constants, void* stream) {
  return launch(adam_kernel<T>, grid(E, n), kThreads, 0, stream, p, g, m, v, E, n, lr, decay, active, constants);
}

template <typename T>
int sgd(T* p, const T* g, T* velocity, int64_t E, int64_t n, const double* lr, const double* decay,
        const uint8_t* active, double momentum, void* stream) {
  return launch(sgd_kernel<T>, grid(E, n), kThreads, 0, stream, p, g, velocity, E, n, lr, decay, active, momentum);
}

}  // namespace

int adam_f32(float* p, const float* g, float* m, float* v, int64_t E, int64_t n, const double* lr, const double* decay,
             const uint8_t* active, AdamConstants constants, void* stream) {
  return adam(p, g, m, v, E, n, lr, decay, active, constants, stream);
}
int adam_f64(double* p, const double* g, double* m, double* v, int64_t E, int64_t n, const double* lr,
             const double* decay, const uint8_t* active, AdamConstants constants, void* stream) {
  return adam(p, g, m, v, E, n, lr, decay, active, constants, stream);
}
int sgd_f32(float* p, const float* g, float* velocity, int64_t E, int64_t n, const double* lr, const double* decay,
            const uint8_t* active, double momentum, void* stream) {
  return sgd(p, g, velocity, E, n, lr, decay, active, momentum, stream);
}
int sgd_f64(double* p, const double* g, double* velocity, int64_t E, int64_t n, const double* lr, const double* decay,
            const uint8_t* active, double momentum, void* stream) {
  return sgd(p, g, velocity, E, n, lr, decay, active, momentum, stream);
}

}  // namespace grokfast::cuda
