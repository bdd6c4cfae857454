#include "grokfast/training.hpp"

#include "bindings.hpp"

namespace py = pybind11;

namespace grokfast {

void register_training(py::module_& module) {
  py::class_<AdamConstants>(module, "AdamConstants")
      .def(py::init([](double beta1, double beta2, double eps, double correction1, double correction2, bool decoupled) {
             return AdamConstants{beta1, beta2, eps, correction1, correction2, decoupled};
           }),
           py::arg("beta1"), py::arg("beta2"), py::arg("eps"), py::arg("bias_correction1"),
           py::arg("bias_correction2"), py::arg("decoupled"));
  GROKFAST_BIND_KERNELS(GROKFAST_TRAINING_KERNELS)
  GROKFAST_BIND_CUDA_KERNELS(GROKFAST_CUDA_TRAINING_KERNELS)
}

}  // namespace grokfast
