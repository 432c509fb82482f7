// LeakSanitizer is to leave HDF5's own leaks alone; see tests/core/io/hdf5_leaks.cc.
extern "C" const char* __lsan_default_suppressions();  // NOLINT: the sanitizer's name
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5\n"; }  // NOLINT
