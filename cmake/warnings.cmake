# Every target of the project links portolan_warnings; warnings are errors.
add_library(portolan_warnings INTERFACE)
target_compile_options(portolan_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror
  # Options structs are filled by name; what is left out has its default.
  -Wno-missing-field-initializers
  # GCC 12 sees uninitialised values inside every moved StatusOr.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
