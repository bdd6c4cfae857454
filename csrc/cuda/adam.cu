// One optimiser step for every member of a stack, in place; blockIdx.y strides over members.
#include "grokfast/training.hpp"
#include "launch.cuh"

namespace grokfast::cuda {
namespace {

template <typename T>
__global__ void adam_kernel(T* p, const T* g, T* m, T* v, int64_t E, int64_t n, const double* lr, const double* decay,
                            const uint8_t* active, AdamConstants c) {
  for (int64_t e = blockIdx.y; e < E; e += gridDim.y) {
    if (!active[e]) continue;
    const T keep1 = T(c.beta1), take1 = T(1 - c.beta1), keep2 = T(c.beta2), take2 = T(1 - c.beta2);
    const T scale2 = T(1 / sqrt(c.bias_correction2)), eps = T(c.eps);
    const T step = T(lr[e] / c.bias_correction1);
    const T l2 = c.decoupled ? T(0) : T(decay[e]);
    const T shrink = c.decoupled ? T(1 - lr[e] * decay[e]) : T(1);
    for (int64_t k = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; k < n; k += int64_t(gridDim.x) * blockDim.x) {
      const int64_t at = e * n + k;
      const T weight = p[at] * shrink;
      const T gradient = g[at] + l2 * weight;
      const T mean = keep1 * m[at] + take1 * gradient;
      const T square = keep2 * v[at] + take2 * gradient * gradient;
      m[at] = mean;
      v[at] = square;
      p[at] = weight - step * mean / (sqrt(square) * scale2 + eps);
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

dim3 grid(int64_t E, int64_t n) { return dim3(blocks_for(n), static_cast<unsigned>(E < 65535 ? E : 65535)); }

template <typename T>
int adam(T* p, const T* g, T* m, T* v, int64_t E, int64_t n, const double* lr, const double* decay,
         const uint8_t* active, AdamConstants constants, void* stream) {
  if (E * n == 0) return 0;
  adam_kernel<<<grid(E, n), kThreads, 0, as_stream(stream)>>>(p, g, m, v, E, n, lr, decay, active, constants);
  return launched();
}

template <typename T>
int sgd(T* p, const T* g, T* velocity, int64_t E, int64_t n, const double* lr, const double* decay,
        const uint8_t* active, double momentum, void* stream) {
  if (E * n == 0) return 0;
  sgd_kernel<<<grid(E, n), kThreads, 0, as_stream(stream)>>>(p, g, velocity, E, n, lr, decay, active, momentum);
  return launched();
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
