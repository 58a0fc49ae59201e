# The few CMake functions that every folder uses. A folder is a target; its dependencies are the layering rules of
# docs/architecture.md, and tests/unit/layering_test.py holds the includes against them.

# sluice_library(NAME DIR [deps...]): a static library of DIR/*.cc (an interface library while there are none).
function(sluice_library name dir)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*.cc)
  if(sources)
    add_library(${name} STATIC ${sources})
    target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
    target_link_libraries(${name} PUBLIC ${ARGN} PRIVATE sluice_warnings)
  else()
    add_library(${name} INTERFACE)
    target_include_directories(${name} INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
    target_link_libraries(${name} INTERFACE ${ARGN})
  endif()
endfunction()

# sluice_unit_tests(NAME DIR [deps...]): one GoogleTest binary of tests/unit/DIR/*_test.cc, registered with CTest.
function(sluice_unit_tests name dir)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${dir}/*.cc)
  if(sources)
    add_executable(${name} ${sources})
    target_link_libraries(${name} PRIVATE ${ARGN} sluice_warnings GTest::gtest GTest::gmock GTest::gtest_main)
    add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    if(SLUICE_SANITIZE STREQUAL "thread") # which makes everything about ten times slower
      set(seconds_max 900)
    else()
      set(seconds_max 300)
    endif()
    set_tests_properties(${name} PROPERTIES TIMEOUT ${seconds_max} LABELS unit)
  endif()
endfunction()

# sluice_fuzz_target(NAME FILE [deps...]): a libFuzzer binary in the fuzz preset; elsewhere a replayer that runs every seed
# of tests/fuzz/corpus/NAME as a test, so that a fixed crash stays fixed.
function(sluice_fuzz_target name file)
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/${file})
    return()
  endif()
  if(SLUICE_FUZZ)
    add_executable(${name} ${CMAKE_SOURCE_DIR}/${file})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${name} ${CMAKE_SOURCE_DIR}/${file} ${CMAKE_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    add_test(NAME ${name} COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${name})
    set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS fuzz)
  endif()
  target_link_libraries(${name} PRIVATE ${ARGN} sluice_warnings)
endfunction()
