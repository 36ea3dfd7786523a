# SPDX-License-Identifier: Apache-2.0
# ww_load_later(MODULE PKG MACRO): the module is compiled against what pkg_check_modules
# found as PKG, and MACRO is the name by which its library is loaded at run time.
function(ww_load_later module pkg macro)
  list(GET ${pkg}_LINK_LIBRARIES 0 library)
  execute_process(COMMAND ${CMAKE_READELF} -d ${library} OUTPUT_VARIABLE text ERROR_QUIET)
  if(NOT text MATCHES "SONAME[^\n]*\\[([^]\n]+)\\]")
    message(FATAL_ERROR "${library} is no shared library with a name; ${module} loads it by that")
  endif()
  target_include_directories(ww_${module} SYSTEM PRIVATE ${${pkg}_INCLUDE_DIRS})
  target_compile_definitions(ww_${module} PRIVATE ${macro}="${CMAKE_MATCH_1}")
endfunction()
