// What every file of bindings shares. Python has checked dtype, device, shape and layout before it calls; addresses
// come from Tensor.data_ptr(), streams from torch.cuda.Stream.cuda_stream.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace grokfast {

// How an argument travels from Python: pointers as integers, everything else as itself.
template <typename T>
struct Wire {
  using Type = T;
  static T open(T value) { return value; }
};
template <typename T>
struct Wire<T*> {
  using Type = std::uintptr_t;
  static T* open(std::uintptr_t address) { return reinterpret_cast<T*>(address); }
};

// `select` returns the CPU kernel for the instruction set in use; its return type gives the arguments.
template <typename Select, typename... Args>
void bind_cpu(pybind11::module_& module, const char* name, Select select, void (*)(Args...)) {
  module.def(name, [select](typename Wire<Args>::Type... args) {
    pybind11::gil_scoped_release unlocked;
    select()(Wire<Args>::open(args)...);
  });
}

// Raises RuntimeError with CUDA's own words unless `status` is cudaSuccess.
void check_cuda(int status);

template <typename... Args>
void bind_cuda(pybind11::module_& module, const char* name, int (*kernel)(Args...)) {
  module.def(name, [kernel](typename Wire<Args>::Type... args) {
    int status;
    {
      pybind11::gil_scoped_release unlocked;
      status = kernel(Wire<Args>::open(args)...);
    }
    check_cuda(status);
  });
}

void register_system(pybind11::module_& module);
void register_fisher(pybind11::module_& module);
void register_geometry(pybind11::module_& module);
void register_training(pybind11::module_& module);

}  // namespace grokfast

// For use with a kernel list inside namespace grokfast: binds cpu_NAME, and cuda_NAME where CUDA is built.
#define GROKFAST_BIND_CPU(name, args)                                              \
  bind_cpu(                                                                        \
      module, "cpu_" #name, [] { return GROKFAST_SELECT_KERNEL(name); }, &baseline::name);
#ifdef GROKFAST_WITH_CUDA
#define GROKFAST_BIND_CUDA(name, args) bind_cuda(module, "cuda_" #name, &cuda::name);
#else
#define GROKFAST_BIND_CUDA(name, args)
#endif
#define GROKFAST_BIND_CPU_KERNELS(LIST) LIST(GROKFAST_BIND_CPU, float, f32, ) LIST(GROKFAST_BIND_CPU, double, f64, )
#define GROKFAST_BIND_CUDA_KERNELS(LIST) LIST(GROKFAST_BIND_CUDA, float, f32, ) LIST(GROKFAST_BIND_CUDA, double, f64, )
#define GROKFAST_BIND_KERNELS(LIST) GROKFAST_BIND_CPU_KERNELS(LIST) GROKFAST_BIND_CUDA_KERNELS(LIST)
