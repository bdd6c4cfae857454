// Instruction sets: every kernel source is compiled once for each, into namespace grokfast::<isa>, and routed here.
#pragma once

namespace grokfast {

enum class Isa { baseline = 0, avx2 = 1, avx512 = 2 };

// The instruction set in use: the best the CPU has, unless a narrower one was asked for.
Isa active_isa();

// Ask for an instruction set by name ("baseline", "avx2", "avx512"). Returns false if the CPU or build lacks it.
bool set_isa(const char* name);

const char* isa_name(Isa isa);

}  // namespace grokfast

#if (defined(__x86_64__) || defined(_M_X64)) && !defined(GROKFAST_BASELINE_ONLY)
#define GROKFAST_X86 1
#endif

// Declares `void name args` for every instruction set.
#ifdef GROKFAST_X86
#define GROKFAST_DECLARE_KERNEL(name, args) \
  namespace baseline {                      \
  void name args;                           \
  }                                         \
  namespace avx2 {                          \
  void name args;                           \
  }                                         \
  namespace avx512 {                        \
  void name args;                           \
  }
#define GROKFAST_SELECT_KERNEL(name)                                       \
  (::grokfast::active_isa() == ::grokfast::Isa::avx512 ? avx512::name      \
   : ::grokfast::active_isa() == ::grokfast::Isa::avx2 ? avx2::name        \
                                                       : baseline::name)
#else
#define GROKFAST_DECLARE_KERNEL(name, args) \
  namespace baseline {                      \
  void name args;                           \
  }
#define GROKFAST_SELECT_KERNEL(name) (baseline::name)
#endif
