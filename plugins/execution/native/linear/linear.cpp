// Chains of sparse linear layers on a batch: forward and backward, for Python (plugins/execution/linear/
// native_product.py, which owns all memory). Nothing here allocates, throws or keeps state. For GCC and Clang.
//
// The kernels are written once, in the included headers, and compiled for each instruction set
// that the processor may have; which one runs is chosen when the library is loaded.

#include "linear.h"

#include <cstring>
#include <utility>

#include "../common/processor.h"
#include "../common/parallel.h"

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define INLINE_MEMBER inline __attribute__((always_inline))
#define EXPORT extern "C" __attribute__((visibility("default")))

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between inlined functions only
#endif

#include "../common/validate.h"

typedef void (*Pass)(const Chain &);
struct Version {
    Pass forward_float, backward_float, forward_double, backward_double;
};

namespace plain {
#define VECTOR_BYTES 16
#if defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif
#include "level.h"
}  // namespace plain
#undef VECTOR_BYTES
#undef REGISTERS

// With OPENWORK_ONE_LEVEL only the baseline, for what does not depend on it.
#if defined(__x86_64__) && !defined(OPENWORK_ONE_LEVEL)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace avx2 {
#define VECTOR_BYTES 32
#define REGISTERS 16
#include "level.h"
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
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=512")
#endif
namespace avx512 {
#define VECTOR_BYTES 64
#define REGISTERS 32
#include "level.h"
}  // namespace avx512
#undef VECTOR_BYTES
#undef REGISTERS
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

static const Version *const VERSIONS[] = {&plain::VERSION, &avx2::VERSION, &avx512::VERSION};

#else

static const Version *const VERSIONS[] = {&plain::VERSION};

#endif

static const Version *version = VERSIONS[best_version()];

// --- what Python calls -----------------------------------------------------------------

// Whether a library that was built earlier still fits the Python side.
EXPORT int64_t openwork_sparse_abi(std::size_t layer_size, std::size_t link_size,
                                   std::size_t chain_size) {
    return layer_size == sizeof(SparseLayer) && link_size == sizeof(Link) &&
                   chain_size == sizeof(Chain)
               ? SPARSE_ABI
               : -1;
}

// For tests: use the instruction set of this number, or the machine's best if that is lower.
EXPORT int64_t openwork_sparse_use(int64_t wanted) {
    const int64_t best = best_version(), chosen = wanted < best ? wanted : best;
    version = VERSIONS[chosen];
    return chosen;
}

// 0 if every entry of the structure is what the kernels rely on, else what is wrong.
EXPORT int64_t openwork_sparse_validate(const SparseLayer *layer) { return problem_of(*layer); }

EXPORT void openwork_sparse_forward(const Chain *chain) {
    (chain->type == 1 ? version->forward_double : version->forward_float)(*chain);
}

EXPORT void openwork_sparse_backward(const Chain *chain) {
    (chain->type == 1 ? version->backward_double : version->backward_float)(*chain);
}
