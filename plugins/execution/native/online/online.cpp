// A network on one observation: forward, the backward pass straight into an eligibility trace, and
// the step along a direction, for Python (plugins/execution/online/network.py, which owns all memory).
// Nothing here allocates, throws or keeps state. For GCC and Clang.
//
// The flat vectors (trace, direction) hold each step's weight and then its bias, in the order of
// the module's parameters: a dense weight row by row, a sparse one in its pattern's order.

#include "online.h"

#include <cfloat>
#include <cmath>
#include <cstring>
#include <utility>

#include "../common/parallel.h"

struct Version {
    void (*forward)(const Network &, const Pass &);
    double (*accumulate)(const Network &, const Pass &);
    void (*move)(const Network &, const Pass &);
};

#define LEVEL "../online/level.h"
#define SHORT_LOOPS
#include "../common/levels.h"

static void copy(float *to, const float *from, int64_t floats) {
    std::memcpy(to, from, sizeof(float) * static_cast<std::size_t>(floats));
}

// --- what Python calls -----------------------------------------------------------------

// Whether a library that was built earlier still fits the Python side.
EXPORT int64_t openwork_online_abi(std::size_t step_size, std::size_t network_size) {
    return step_size == sizeof(Step) && network_size == sizeof(Network) ? ONLINE_ABI : -1;
}

EXPORT int64_t openwork_online_use(int64_t wanted) { return use_version(wanted); }

// The outputs for `input`, and for `other` too unless it is null; the backward pass is of `input`.
EXPORT void openwork_online_forward(const Network *network, const float *input, const float *other) {
    copy(network->input, input, network->inputs);
    if (other) copy(network->input + network->other, other, network->inputs);
    version->forward(*network, {other ? 2 : 1, network->other, nullptr, nullptr, 0});
}

EXPORT double openwork_online_accumulate(const Network *network, const float *gradient, float *trace,
                                       float decay) {
    std::memset(network->gradients, 0,
                sizeof(float) * static_cast<std::size_t>(network->gradient_count));
    copy(network->output_gradients, gradient, network->outputs);
    return version->accumulate(*network,
                               {1, network->other, nullptr, trace, decay});
}

EXPORT void openwork_online_move(const Network *network, const float *direction, float scale) {
    version->move(*network, {1, network->other, direction, nullptr, scale});
}
