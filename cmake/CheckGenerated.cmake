# cmake -DFILE=docs/x.md "-DCOMMAND=program argument" -P CheckGenerated.cmake
# Fails if FILE is not what COMMAND prints.

separate_arguments(words UNIX_COMMAND "${COMMAND}")
execute_process(COMMAND ${words} OUTPUT_VARIABLE fresh RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${COMMAND}: exit code ${result}")
endif()
set(committed "")
if(EXISTS ${FILE})
  file(READ ${FILE} committed)
endif()
if(NOT fresh STREQUAL committed)
  message(FATAL_ERROR "${FILE} is stale. Write it again:\n  ${COMMAND} > ${FILE}")
endif()
