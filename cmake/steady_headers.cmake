# pybind11's headers at one place for every build. pip gives each build an environment of its own, whose path would stand in the
# compiler's commands: everything would be compiled again. They are copied only where they differ.
set(steady ${CMAKE_CURRENT_BINARY_DIR}/headers)
file(GLOB_RECURSE headers RELATIVE ${pybind11_INCLUDE_DIR} ${pybind11_INCLUDE_DIR}/pybind11/*)
foreach(header IN LISTS headers)
  configure_file(${pybind11_INCLUDE_DIR}/${header} ${steady}/${header} COPYONLY)
endforeach()
foreach(target pybind11::headers pybind11::pybind11_headers)
  if(TARGET ${target})
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES ${steady}
                                               INTERFACE_SYSTEM_INCLUDE_DIRECTORIES ${steady})
  endif()
endforeach()
