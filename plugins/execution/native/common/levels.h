// Included by a source that has defined LEVEL, the header of its kernels, and struct Version, pointers
// to them: compiles the kernels once for each instruction set that the processor may have, in a
// namespace of its own, with VECTOR_BYTES and REGISTERS defined. LEVEL defines a VERSION; which one
// runs is chosen when the library is loaded.

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define INLINE_MEMBER inline __attribute__((always_inline))
#define EXPORT extern "C" __attribute__((visibility("default")))

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between inlined functions only
#endif

namespace plain {
#define VECTOR_BYTES 16
#if defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#include LEVEL
}  // namespace plain
#undef VECTOR_BYTES
#undef REGISTERS

// With OPENWORK_ONE_LEVEL only the baseline, for what does not depend on it.
#if defined(__x86_64__) && !defined(OPENWORK_ONE_LEVEL)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace avx2 {
#define VECTOR_BYTES 32
#define REGISTERS 16
#include LEVEL
}  // namespace avx2
#undef VECTOR_BYTES
#undef REGISTERS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#if defined(SHORT_LOOPS)
// Vectors of 512 bits only where they are written as such: short loops of dense layers lose by them.
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=256")
#else
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")
#endif
#endif
namespace avx512 {
#define VECTOR_BYTES 64
#define REGISTERS 32
#include LEVEL
}  // namespace avx512
#undef VECTOR_BYTES
#undef REGISTERS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static const Version *const VERSIONS[] = {&plain::VERSION, &avx2::VERSION, &avx512::VERSION};

static int64_t best_version() {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
               ? 2
               : 1;
}

#else

static const Version *const VERSIONS[] = {&plain::VERSION};

static int64_t best_version() { return 0; }

#endif

static const Version *version = VERSIONS[best_version()];

// For tests: the instruction set of this number, or the machine's best if that is lower.
static int64_t use_version(int64_t wanted) {
    const int64_t best = best_version(), chosen = wanted < best ? wanted : best;
    version = VERSIONS[chosen];
    return chosen;
}
