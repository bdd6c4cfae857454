# Fails if a kernel object holds a weak function, such as an instantiated template of the standard library: the linker
# keeps one copy of it for the whole program, perhaps the one compiled for an instruction set this CPU lacks.
# Run as: cmake -DNM=nm "-DOBJECTS=a.o|b.o" -P check_symbols.cmake
string(REPLACE "|" ";" OBJECTS "${OBJECTS}")
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} -C ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* W [^\n]*" weak "${symbols}")
  # What is named after its instruction set is not shared.
  list(FILTER weak EXCLUDE REGEX "grokfast::(baseline|avx2|avx512)")
  if(weak)
    message(FATAL_ERROR "${object} shares functions across instruction sets; use grokfast::Buffer and plain loops "
                        "instead of what instantiates:\n${weak}")
  endif()
endforeach()
