// A chain of linear layers on one observation: forward, the backward pass straight into an
// eligibility trace, and the step along a direction. Called through ctypes by ../rows.py, which
// owns all memory; nothing here allocates, throws or keeps state. For GCC and Clang.
//
// The flat vectors (trace, direction) hold each layer's weight, row by row, then its bias.
// Masks have one word per weight: all bits set where it lives, none where it is removed; a null
// pointer keeps everything. (Bytes are a quarter of the memory, and a third slower to widen.)

#include <cfloat>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))
#define EXPORT extern "C" __attribute__((visibility("default")))

// Mirrored by ctypes structures in ../rows.py; raise ABI with every change of either, and
// whenever what an exported function does changes.
static const int64_t ABI = 1;

struct Layer {
    int64_t inputs, outputs;
    int64_t offset;  // of the weight in the flat vectors
    float *weight;   // [outputs, inputs]
    float *bias;     // [outputs], or null
    const int32_t *weight_mask, *bias_mask;
    const float *input;
    float *input_gradient;  // null where nobody asks for it; layers that read the same add up
    float *normal;          // [outputs] after layer norm, or null without one
    float *output;          // [outputs] after layer norm and activation
    float *output_gradient;
    double scale;  // 1 / sqrt(variance + epsilon) of the last forward
    float epsilon;
    float slope;  // of the activation below zero: 1 is none, 0 is ReLU
};

struct Network {
    Layer *layers;
    int64_t count;
    float *input;
    int64_t inputs;
    float *hidden_gradients;
    int64_t hidden;
    float *output_gradients;
    int64_t outputs;
};

// --- one layer -------------------------------------------------------------------------

// The dot products of `rows` consecutive rows with one vector: each element of it is loaded once,
// and the sums do not wait for each other. The simd reduction lets the compiler reorder sums.
template <int rows>
INLINE void multiply(const Layer &layer, int64_t first, float *output) {
    const int64_t n = layer.inputs;
    const float *weight = layer.weight + first * n, *x = layer.input;
    float a = 0, b = 0, c = 0, d = 0;
    if (rows == 4) {
#pragma omp simd reduction(+ : a, b, c, d)
        for (int64_t i = 0; i < n; ++i) {
            a += weight[i] * x[i];
            b += weight[n + i] * x[i];
            c += weight[2 * n + i] * x[i];
            d += weight[3 * n + i] * x[i];
        }
    } else {
#pragma omp simd reduction(+ : a)
        for (int64_t i = 0; i < n; ++i) a += weight[i] * x[i];
    }
    const float sums[4] = {a, b, c, d};
    for (int r = 0; r < rows; ++r)
        output[first + r] = sums[r] + (layer.bias ? layer.bias[first + r] : 0.0f);
}

INLINE void normalise(Layer &layer) {
    const int64_t n = layer.outputs;
    const float *x = layer.output;
    double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += x[i];
    const double mean = sum / static_cast<double>(n);
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
    layer.scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + layer.epsilon);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        layer.normal[i] = static_cast<float>((x[i] - mean) * layer.scale);
        layer.output[i] = layer.normal[i];
    }
}

INLINE void forward_layer(Layer &layer) {
    int64_t row = 0;
    for (; row + 4 <= layer.outputs; row += 4) multiply<4>(layer, row, layer.output);
    for (; row < layer.outputs; ++row) multiply<1>(layer, row, layer.output);
    if (layer.normal) normalise(layer);
    if (layer.slope != 1.0f) {
        float *y = layer.output;
        const float slope = layer.slope;
#pragma omp simd
        for (int64_t i = 0; i < layer.outputs; ++i) y[i] = y[i] > 0 ? y[i] : slope * y[i];
    }
}

// Turns the gradient of a layer's output into that of its linear part, in place.
INLINE void backward_activation(const Layer &layer) {
    const int64_t n = layer.outputs;
    float *g = layer.output_gradient;
    const float slope = layer.slope;
    if (slope != 1.0f) {
        const float *y = layer.output;  // of the sign of the activation's input: slope >= 0
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] = y[i] > 0 ? g[i] : slope * g[i];
    }
    if (!layer.normal) return;
    // dx = (g - mean(g) - normal mean(g normal)) / sqrt(variance + epsilon)
    const float *normal = layer.normal;
    double sum = 0, along = 0;
#pragma omp simd reduction(+ : sum, along)
    for (int64_t i = 0; i < n; ++i) {
        sum += g[i];
        along += static_cast<double>(g[i]) * normal[i];
    }
    const double mean = sum / static_cast<double>(n), share = along / static_cast<double>(n);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
        g[i] = static_cast<float>((g[i] - mean - normal[i] * share) * layer.scale);
}

// The value where the mask has all bits set, and 0 where it has none, NaN or not.
INLINE float where_kept(float value, int32_t mask) {
    int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= mask;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

// A new entry of the trace. Subnormal ones become zero: they would slow a trace that has nearly
// faded.
INLINE float traced(float old, float decay, float added) {
    const float value = decay * old + added;
    return std::fabs(value) < FLT_MIN ? 0.0f : value;
}

// One pass over `rows` consecutive rows: trace <- decay trace + outer(g, x), its L1 norm, and
// the input's gradient += W^T g.
template <int rows, bool masked, bool descend>
INLINE double accumulate_rows(const Layer &layer, int64_t first, float *trace, float decay) {
    const int64_t n = layer.inputs;
    const float *g = layer.output_gradient + first, *x = layer.input;
    const float *weight = layer.weight + first * n;
    const int32_t *mask = masked ? layer.weight_mask + first * n : nullptr;
    float *z = trace + layer.offset + first * n, *below = layer.input_gradient;
    float norm = 0;  // of few enough entries; the caller adds up in double
#pragma omp simd reduction(+ : norm)
    for (int64_t i = 0; i < n; ++i) {
        float size = 0, gradient = 0;
        for (int r = 0; r < rows; ++r) {
            const int64_t at = r * n + i;
            const float value = traced(z[at], decay, g[r] * x[i]);
            z[at] = masked ? where_kept(value, mask[at]) : value;
            size += std::fabs(z[at]);
            if (descend) gradient += g[r] * weight[at];
        }
        norm += size;
        if (descend) below[i] += gradient;
    }
    return norm;
}

template <bool masked, bool descend>
INLINE double accumulate_weight(const Layer &layer, float *trace, float decay) {
    double norm = 0;
    int64_t row = 0;
    for (; row + 4 <= layer.outputs; row += 4)
        norm += accumulate_rows<4, masked, descend>(layer, row, trace, decay);
    for (; row < layer.outputs; ++row)
        norm += accumulate_rows<1, masked, descend>(layer, row, trace, decay);
    return norm;
}

template <bool masked>
INLINE double accumulate_layer(const Layer &layer, float *trace, float decay) {
    backward_activation(layer);
    double norm = layer.input_gradient ? accumulate_weight<masked, true>(layer, trace, decay)
                                       : accumulate_weight<masked, false>(layer, trace, decay);
    if (!layer.bias) return norm;
    float *z = trace + layer.offset + layer.outputs * layer.inputs;
#pragma omp simd reduction(+ : norm)
    for (int64_t i = 0; i < layer.outputs; ++i) {
        const float value = traced(z[i], decay, layer.output_gradient[i]);
        z[i] = layer.bias_mask ? where_kept(value, layer.bias_mask[i]) : value;
        norm += std::fabs(z[i]);
    }
    return norm;
}

INLINE void move_some(float *weight, const float *direction, int64_t n, float scale) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) weight[i] += scale * direction[i];
}

// --- the chain -------------------------------------------------------------------------

INLINE std::size_t bytes(int64_t floats) {
    return sizeof(float) * static_cast<std::size_t>(floats);
}

INLINE void forward_all(Network &network, const float *input) {
    std::memcpy(network.input, input, bytes(network.inputs));
    for (int64_t i = 0; i < network.count; ++i) forward_layer(network.layers[i]);
}

INLINE double accumulate_all(Network &network, const float *gradient, float *trace, float decay) {
    std::memset(network.hidden_gradients, 0, bytes(network.hidden));
    std::memcpy(network.output_gradients, gradient, bytes(network.outputs));
    double norm = 0;
    for (int64_t i = network.count; i-- > 0;)
        norm += network.layers[i].weight_mask
                    ? accumulate_layer<true>(network.layers[i], trace, decay)
                    : accumulate_layer<false>(network.layers[i], trace, decay);
    return norm;
}

INLINE void move_all(Network &network, const float *direction, float scale) {
    for (int64_t i = 0; i < network.count; ++i) {
        const Layer &layer = network.layers[i];
        const int64_t size = layer.inputs * layer.outputs;
        const float *along = direction + layer.offset;
        move_some(layer.weight, along, size, scale);
        if (layer.bias) move_some(layer.bias, along + size, layer.outputs, scale);
    }
}

// --- one version per instruction set ---------------------------------------------------
//
// Everything above is inlined into each and compiled for it. AVX-512 was no faster where it was
// tried: memory sets the pace.

struct Version {
    void (*forward)(Network &, const float *);
    double (*accumulate)(Network &, const float *, float *, float);
    void (*move)(Network &, const float *, float);
};

#define VERSION(name, attribute)                                                               \
    attribute static void forward_##name(Network &n, const float *x) { forward_all(n, x); }    \
    attribute static double accumulate_##name(Network &n, const float *g, float *z, float d) { \
        return accumulate_all(n, g, z, d);                                                     \
    }                                                                                          \
    attribute static void move_##name(Network &n, const float *along, float scale) {           \
        move_all(n, along, scale);                                                             \
    }

VERSION(plain, )
#if defined(__x86_64__)
VERSION(avx2, __attribute__((target("avx2,fma"))))
static const Version VERSIONS[] = {{forward_plain, accumulate_plain, move_plain},
                                   {forward_avx2, accumulate_avx2, move_avx2}};

static int64_t best_version() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
}
#else
static const Version VERSIONS[] = {{forward_plain, accumulate_plain, move_plain}};
static int64_t best_version() { return 0; }
#endif

static const Version *version = &VERSIONS[best_version()];

// --- what Python calls -----------------------------------------------------------------

// Whether a library that was built earlier still fits the Python side.
EXPORT int64_t openwork_rows_abi(std::size_t layer_size, std::size_t network_size) {
    return layer_size == sizeof(Layer) && network_size == sizeof(Network) ? ABI : -1;
}

// For tests: use the instruction set of this number, or the machine's best if that is lower.
EXPORT int64_t openwork_rows_use(int64_t wanted) {
    const int64_t best = best_version(), chosen = wanted < best ? wanted : best;
    version = &VERSIONS[chosen];
    return chosen;
}

EXPORT void openwork_rows_forward(Network *network, const float *input) {
    version->forward(*network, input);
}

EXPORT double openwork_rows_accumulate(Network *network, const float *gradient, float *trace,
                                       float decay) {
    return version->accumulate(*network, gradient, trace, decay);
}

EXPORT void openwork_rows_move(Network *network, const float *direction, float scale) {
    version->move(*network, direction, scale);
}
