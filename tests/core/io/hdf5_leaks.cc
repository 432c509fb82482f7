// HDF5 1.10 leaks a little of its own when it gives up on damaged metadata. LeakSanitizer finds it
// or not, by what the stack still holds at exit, so it is told to leave that library's memory
// alone. And where damage makes HDF5 ask for absurd amounts of memory, it is to get none, as
// without the sanitizer, rather than to stop the program.
#ifdef __SANITIZE_ADDRESS__
extern "C" const char* __lsan_default_suppressions();  // NOLINT: the sanitizer's name
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5\n"; }          // NOLINT
extern "C" const char* __asan_default_options();                                           // NOLINT
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }  // NOLINT
#endif
