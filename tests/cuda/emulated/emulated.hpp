// What tests ask of the emulated GPU.
#pragma once

#include <cstdint>

namespace emulated {

void seed(std::uint64_t value);                   // of the order of blocks and threads
std::int64_t count_launches();                    // since the last call
void limit_grid(std::int64_t x, std::int64_t y);  // kernels stride over what is more
void limit_shared(std::int64_t bytes);            // what the device says that a block may have

}  // namespace emulated
