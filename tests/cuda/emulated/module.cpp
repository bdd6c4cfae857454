// The emulated kernels by the names that they have in grokfast._core, which brings AdamConstants.
#include <stdexcept>
#include <string>

#include "bindings.hpp"
#include "emulated.hpp"
#include "grokfast/fisher.hpp"
#include "grokfast/geometry.hpp"
#include "grokfast/training.hpp"

namespace grokfast {

namespace cuda {
int fault(int64_t which, double* data, int64_t n, void* stream);  // tests/cuda/faults.cu
}

void check_cuda(int status) {
  if (status != 0) throw std::runtime_error(std::string("CUDA kernel failed: ") + cuda::error_text(status));
}

void register_kernels(pybind11::module_& module) {
  GROKFAST_BIND_CUDA_KERNELS(GROKFAST_TRAINING_KERNELS)
  GROKFAST_BIND_CUDA_KERNELS(GROKFAST_CUDA_TRAINING_KERNELS)
  GROKFAST_BIND_CUDA_KERNELS(GROKFAST_FISHER_KERNELS)
  GROKFAST_BIND_CUDA_KERNELS(GROKFAST_GEOMETRY_KERNELS)
  bind_cuda(module, "fault", &cuda::fault);
}

}  // namespace grokfast

PYBIND11_MODULE(emulated_kernels, module) {
  grokfast::register_kernels(module);
  module.def("seed", &emulated::seed);
  module.def("count_launches", &emulated::count_launches);
  module.def("limit_grid", &emulated::limit_grid);
  module.def("limit_shared", &emulated::limit_shared);
}
