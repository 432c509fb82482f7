# Debian 12 packages are the default source of all of these (see the Makefile for their names).
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(HDF5 REQUIRED COMPONENTS C)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)

# Highway compiles the kernels once per instruction set and chooses among them at run time.
find_package(hwy REQUIRED)
add_library(portolan_hwy INTERFACE)
target_include_directories(portolan_hwy SYSTEM INTERFACE $<TARGET_PROPERTY:hwy::hwy,INTERFACE_INCLUDE_DIRECTORIES>)
target_link_libraries(portolan_hwy INTERFACE hwy::hwy)
# AVX2, AVX-512 and what every processor has.
target_compile_definitions(portolan_hwy INTERFACE "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4)")

add_library(portolan_hdf5 INTERFACE)
target_include_directories(portolan_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_link_libraries(portolan_hdf5 INTERFACE ${HDF5_C_LIBRARIES})

if(PORTOLAN_TORCH)
  # Any LibTorch 1.13 to 2.x: CMAKE_PREFIX_PATH chooses one that does not come from Debian.
  find_package(Torch REQUIRED)
  add_library(portolan_torch INTERFACE)
  target_include_directories(portolan_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  target_link_libraries(portolan_torch INTERFACE ${TORCH_LIBRARIES})
  separate_arguments(_torch_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
  target_compile_options(portolan_torch INTERFACE ${_torch_flags})
endif()

if(PORTOLAN_TESTS)
  find_package(GTest REQUIRED)
endif()
