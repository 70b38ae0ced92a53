// Which of the versions of a kernel this processor runs best: 0 any, 1 AVX2, 2 AVX-512.

#ifndef OPENWORK_PROCESSOR_H
#define OPENWORK_PROCESSOR_H

#include <cstdint>

#if defined(__x86_64__)
static int64_t best_version() {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
               ? 2
               : 1;
}
#else
static int64_t best_version() { return 0; }
#endif

#endif
