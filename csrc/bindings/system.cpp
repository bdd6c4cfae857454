// Instruction sets and CUDA: what was built, what is in use.
#include <sys/mman.h>

#include <stdexcept>
#include <string>

#include "bindings.hpp"
#include "grokfast/kernels.hpp"
#include "grokfast/memory.hpp"

namespace py = pybind11;

namespace grokfast {

#ifdef GROKFAST_WITH_CUDA
void check_cuda(int status) {
  if (status != 0) throw std::runtime_error(std::string("CUDA kernel failed: ") + cuda::error_text(status));
}
#endif

// Advice only: an error means that the system has no huge pages to give.
void advise_huge_pages(std::uintptr_t address, std::size_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr std::uintptr_t page = std::uintptr_t(1) << 21;
  const std::uintptr_t first = (address + page - 1) / page * page, last = (address + bytes) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)address, (void)bytes;
#endif
}

// Whether 0 <= index < size for all; kernels read where an index says.
bool all_below(std::uintptr_t address, std::int64_t count, std::int64_t size) {
  const auto* index = reinterpret_cast<const std::int64_t*>(address);
  const auto limit = static_cast<std::uint64_t>(size);
  bool below = true;
  for (std::int64_t k = 0; k < count; ++k) below &= static_cast<std::uint64_t>(index[k]) < limit;
  return below;
}

void register_system(py::module_& module) {
  module.def("isa", [] { return std::string(isa_name(active_isa())); }, "The instruction set in use.");
  module.def(
      "set_isa",
      [](const std::string& name) {
        if (!set_isa(name.c_str()))
          throw py::value_error("instruction set must be 'baseline', 'avx2' or 'avx512' and one this CPU has, got '" +
                                name + "'");
      },
      py::arg("name"), "Use a narrower instruction set than the CPU's best (for tests and comparisons).");
  module.def("advise_huge_pages", &advise_huge_pages, py::arg("address"), py::arg("bytes"),
             "Ask for huge pages under fresh memory.");
  module.def("all_below", &all_below, py::arg("address"), py::arg("count"), py::arg("size"),
             "Whether all int64 indices at an address lie in 0 .. size - 1.");
  module.def("fail_allocation", &fail_allocation, py::arg("successes"),
             "For tests: let the kernels' request for memory after `successes` more fail, once; negative: none. Returns "
             "how many requests there have been since the last call.");
#ifdef GROKFAST_WITH_CUDA
  module.attr("cuda_built") = true;
  module.attr("cuda_toolkit") = cuda::toolkit_version();
#else
  module.attr("cuda_built") = false;
  module.attr("cuda_toolkit") = 0;
#endif
}

}  // namespace grokfast
