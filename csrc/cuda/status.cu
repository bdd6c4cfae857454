#include <cuda_runtime.h>

#include "grokfast/kernels.hpp"

namespace grokfast::cuda {

const char* error_text(int status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }

int toolkit_version() { return CUDART_VERSION; }

}  // namespace grokfast::cuda
