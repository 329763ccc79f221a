# The functions every CMakeLists.txt of this project is written with.

# GCC 12 to 14 report absl::InlinedVector that was moved from as (maybe) uninitialized, and string
# concatenation as overlapping copies (GCC bug 105651); all falsely.
set(OCTET_WARNINGS -Wall -Wextra -Wno-missing-field-initializers -Wno-maybe-uninitialized
                   -Wno-uninitialized -Wno-restrict)
if(OCTET_WERROR)
  list(APPEND OCTET_WARNINGS -Werror)
endif()

set(OCTET_INSTRUMENTATION_FLAGS "")
if(OCTET_SANITIZE)
  list(APPEND OCTET_INSTRUMENTATION_FLAGS -fsanitize=${OCTET_SANITIZE} -fno-omit-frame-pointer
                                          -fno-sanitize-recover=all)
  # Where this is defined, protobuf's and Abseil's headers give their classes further members, which
  # the packaged libraries do not have. Our own code is instrumented all the same.
  if(OCTET_SANITIZE MATCHES thread)
    list(APPEND OCTET_INSTRUMENTATION_FLAGS -U__SANITIZE_THREAD__)
  endif()
endif()

if(OCTET_COVERAGE)
  list(APPEND OCTET_INSTRUMENTATION_FLAGS --coverage)
endif()

# ccache makes a second build cheap; nothing depends on it.
find_program(OCTET_CCACHE ccache)
mark_as_advanced(OCTET_CCACHE)
if(OCTET_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${OCTET_CCACHE})
endif()

# What every target of ours is compiled with.
function(octet_compile_options TARGET)
  target_include_directories(${TARGET} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_features(${TARGET} PUBLIC cxx_std_20)
  target_compile_options(${TARGET} PRIVATE ${OCTET_WARNINGS} ${OCTET_INSTRUMENTATION_FLAGS})
  target_link_options(${TARGET} PRIVATE ${OCTET_INSTRUMENTATION_FLAGS})
endfunction()

# A library that sees only what DEPS names. The target is octet_<NAME>.
function(octet_library NAME)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(octet_${NAME} STATIC ${ARG_SRCS})
  octet_compile_options(octet_${NAME})
  target_link_libraries(octet_${NAME} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# One test program per folder; LABEL is unit, property, conformance, fuzz, e2e or bench.
function(octet_test NAME)
  cmake_parse_arguments(ARG "" "LABEL" "SRCS;DEPS" ${ARGN})
  if(NOT OCTET_TESTS)
    return()
  endif()
  add_executable(${NAME}_test ${ARG_SRCS})
  octet_compile_options(${NAME}_test)
  target_link_libraries(${NAME}_test PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  add_test(NAME ${NAME} COMMAND ${NAME}_test)
  set_tests_properties(${NAME} PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT 600)
endfunction()

# Turns a folder into a table: TEMPLATE gets one declaration and one call per *.cc of DIR, in
# alphabetical order, and those files plus the table itself are put into the variable SOURCES.
# foo.cc must define `RETURNS NAMESPACE::foo()`; if it does not, linking fails.
function(octet_table SOURCES)
  cmake_parse_arguments(ARG "" "DIR;NAMESPACE;RETURNS;TEMPLATE" "" ${ARGN})
  file(GLOB files CONFIGURE_DEPENDS ${ARG_DIR}/*.cc)
  list(FILTER files EXCLUDE REGEX "_test\\.cc$")
  list(SORT files)
  set(DECLARATIONS "")
  set(CALLS "")
  foreach(file IN LISTS files)
    get_filename_component(name ${file} NAME_WE)
    string(APPEND DECLARATIONS "${ARG_RETURNS} ${name}();\n")
    string(APPEND CALLS "      ${ARG_NAMESPACE}::${name}(),\n")
  endforeach()
  set(table ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAMESPACE}_table.cc)
  configure_file(${ARG_TEMPLATE} ${table} @ONLY)
  set(${SOURCES} ${files} ${table} PARENT_SCOPE)
endfunction()
