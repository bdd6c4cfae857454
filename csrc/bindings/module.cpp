#include "bindings.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "Compiled kernels of grokfast: raw addresses and sizes; called through grokfast.ops only.";
  grokfast::register_system(module);
  grokfast::register_fisher(module);
  grokfast::register_geometry(module);
  grokfast::register_training(module);
}
