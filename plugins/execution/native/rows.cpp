// A network on one observation: forward, the backward pass straight into an eligibility trace, and
// the step along a direction. Called through ctypes by ../rows.py, which owns all memory; nothing
// here allocates, throws or keeps state. For GCC and Clang.
//
// The flat vectors (trace, direction) hold each step's weight and then its bias, in the order of
// the module's parameters: a dense weight row by row, a sparse one in its structure's order.
//
// The kernels are written once, in the included headers, and compiled for each instruction set
// that the processor may have; which one runs is chosen when the library is loaded.

#include "rows.h"

#include <cfloat>
#include <cmath>
#include <cstring>
#include <utility>

#include "processor.h"
#include "sparse_parallel.h"

#define INLINE static inline __attribute__((always_inline))
#define INLINE_MEMBER inline __attribute__((always_inline))
#define EXPORT extern "C" __attribute__((visibility("default")))

#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"  // vectors are passed between inlined functions only
#endif

struct Version {
    void (*forward)(const Network &, const Pass &);
    double (*accumulate)(const Network &, const Pass &);
    void (*move)(const Network &, const Pass &);
};

namespace plain {
#define VECTOR_BYTES 16
#include "rows_level.h"
}  // namespace plain
#undef VECTOR_BYTES

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
namespace avx2 {
#define VECTOR_BYTES 32
#include "rows_level.h"
}  // namespace avx2
#undef VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if defined(__clang__)
#pragma clang attribute push(                                                            \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
// Vectors of 512 bits only where they are written as such: short loops of dense layers lose by them.
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,prefer-vector-width=256")
#endif
namespace avx512 {
#define VECTOR_BYTES 64
#include "rows_level.h"
}  // namespace avx512
#undef VECTOR_BYTES
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

static void copy(float *to, const float *from, int64_t floats) {
    std::memcpy(to, from, sizeof(float) * static_cast<std::size_t>(floats));
}

// --- what Python calls -----------------------------------------------------------------

// Whether a library that was built earlier still fits the Python side.
EXPORT int64_t openwork_rows_abi(std::size_t step_size, std::size_t network_size) {
    return step_size == sizeof(Step) && network_size == sizeof(Network) ? ROWS_ABI : -1;
}

// For tests: use the instruction set of this number, or the machine's best if that is lower.
EXPORT int64_t openwork_rows_use(int64_t wanted) {
    const int64_t best = best_version(), chosen = wanted < best ? wanted : best;
    version = VERSIONS[chosen];
    return chosen;
}

// The outputs for `input`, and for `other` too unless it is null; the backward pass is of `input`.
EXPORT void openwork_rows_forward(const Network *network, const float *input, const float *other) {
    copy(network->input, input, network->inputs);
    if (other) copy(network->input + network->other, other, network->inputs);
    version->forward(*network, {other ? 2 : 1, network->other, nullptr, nullptr, 0});
}

EXPORT double openwork_rows_accumulate(const Network *network, const float *gradient, float *trace,
                                       float decay) {
    std::memset(network->gradients, 0,
                sizeof(float) * static_cast<std::size_t>(network->gradient_count));
    copy(network->output_gradients, gradient, network->outputs);
    return version->accumulate(*network,
                               {1, network->other, nullptr, trace, decay});
}

EXPORT void openwork_rows_move(const Network *network, const float *direction, float scale) {
    version->move(*network, {1, network->other, direction, nullptr, scale});
}
