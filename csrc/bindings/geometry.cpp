#include "grokfast/geometry.hpp"

#include "bindings.hpp"

namespace py = pybind11;

namespace grokfast {

void register_geometry(py::module_& module) { GROKFAST_BIND_KERNELS(GROKFAST_GEOMETRY_KERNELS) }

}  // namespace grokfast
