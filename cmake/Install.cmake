# SPDX-License-Identifier: Apache-2.0
# The shared library, and what `cmake --install` puts where.
include(CMakePackageConfigHelpers)

# Same objects as the static library; the version script leaves only the public API visible.
set(map ${PROJECT_SOURCE_DIR}/src/libweightward.map)
add_library(weightward_shared SHARED ${WW_OBJECTS})
set_target_properties(weightward_shared PROPERTIES OUTPUT_NAME weightward
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  EXPORT_NAME weightward LINK_DEPENDS ${map})
target_link_libraries(weightward_shared PRIVATE ww_flags ${WW_LINK})
target_link_options(weightward_shared PRIVATE -Wl,--version-script=${map})
if(NOT WW_SANITIZE AND NOT WW_FUZZ)
  target_link_options(weightward_shared PRIVATE -Wl,--no-undefined)
endif()
set_target_properties(weightward_static PROPERTIES EXPORT_NAME static)
foreach(library shared static)
  target_include_directories(weightward_${library} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
add_library(weightward::weightward ALIAS weightward_shared)
add_library(weightward::static ALIAS weightward_static)

install(TARGETS weightward_shared EXPORT weightwardTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS weightward_static EXPORT weightwardStaticTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/weightward DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h")

# Both descriptions find the prefix from where they lie, so that an installation can move.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/weightward)
foreach(set weightwardTargets weightwardStaticTargets)
  install(EXPORT ${set} NAMESPACE weightward:: DESTINATION ${package_dir})
endforeach()
configure_package_config_file(cmake/weightwardConfig.cmake.in weightwardConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(weightwardConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/weightwardConfig.cmake
  ${PROJECT_BINARY_DIR}/weightwardConfigVersion.cmake DESTINATION ${package_dir})
file(RELATIVE_PATH WW_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
  ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/weightward.pc.in weightward.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/weightward.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES docs/man/libweightward.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
if(WW_TOOLS)
  install(FILES tools/completion/weightward
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(DIRECTORY docs/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1
    FILES_MATCHING PATTERN "*.1")
endif()
