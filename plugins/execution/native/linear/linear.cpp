// Chains of sparse linear layers on a batch: forward and backward, for Python
// (plugins/execution/linear/native_product.py, which owns all memory). Nothing here allocates,
// throws or keeps state. For GCC and Clang.

#include "linear.h"

#include <cstring>
#include <utility>

#include "../common/parallel.h"

typedef void (*Pass)(const Chain &);
struct Version {
    Pass forward_float, backward_float, forward_double, backward_double;
};

#define LEVEL "../linear/level.h"
#include "../common/levels.h"

// --- what Python calls -----------------------------------------------------------------

// Whether a library that was built earlier still fits the Python side.
EXPORT int64_t openwork_linear_abi(std::size_t layer_size, std::size_t link_size,
                                   std::size_t chain_size) {
    return layer_size == sizeof(Pattern) && link_size == sizeof(Link) &&
                   chain_size == sizeof(Chain)
               ? LINEAR_ABI
               : -1;
}

EXPORT int64_t openwork_linear_use(int64_t wanted) { return use_version(wanted); }

EXPORT void openwork_linear_forward(const Chain *chain) {
    (chain->type == 1 ? version->forward_double : version->forward_float)(*chain);
}

EXPORT void openwork_linear_backward(const Chain *chain) {
    (chain->type == 1 ? version->backward_double : version->backward_float)(*chain);
}
