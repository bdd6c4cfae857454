#include "grokfast/fisher.hpp"

#include "bindings.hpp"

namespace grokfast {

void register_fisher(pybind11::module_& module) { GROKFAST_BIND_KERNELS(GROKFAST_FISHER_KERNELS) }

}  // namespace grokfast
