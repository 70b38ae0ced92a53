// What the steps of a network on one observation have in common: vectors, traces, moves.

typedef Vec<float> Floats;
constexpr int LANES = Vectors<float>::width;
typedef int32_t Ints __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));

INLINE std::size_t bytes(int64_t floats) {
    return sizeof(float) * static_cast<std::size_t>(floats);
}

INLINE Floats all(float value) { return Floats{} + value; }
INLINE Floats magnitude(Floats v) { return (Floats)((Ints)v & 0x7fffffff); }

INLINE float total(Floats v) {
    Floats rows[LANES] = {v};
    return sums_of<float>(rows)[0];
}

// New entries of a trace. Subnormal ones become zero: they would slow a trace that has nearly
// faded. NaN stays.
INLINE Floats traced(Floats old, Floats decay, Floats added) {
    const Floats value = decay * old + added;
    return (Floats)((Ints)value & ~(Ints)(magnitude(value) < FLT_MIN));
}
INLINE float traced(float old, float decay, float added) {
    const float value = decay * old + added;
    return std::fabs(value) < FLT_MIN ? 0.0f : value;
}

// The value where the mask has all bits set, and 0 where it has none, NaN or not.
INLINE float where_kept(float value, int32_t mask) {
    int32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= mask;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

INLINE void move_some(float *weight, const float *direction, float scale, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) weight[i] += scale * direction[i];
}

// Few entries of a trace: biases, and the parameters of a layer norm.
INLINE double trace_few(float *trace, const float *added, const int32_t *mask, float decay,
                        int64_t n) {
    double norm = 0;
#pragma omp simd reduction(+ : norm)
    for (int64_t i = 0; i < n; ++i) {
        const float value = traced(trace[i], decay, added[i]);
        trace[i] = mask ? where_kept(value, mask[i]) : value;
        norm += std::fabs(trace[i]);
    }
    return norm;
}

// Where an output begins: at the bias, or at what the layer is added to.
INLINE void begin(const Step &step, int64_t first, int64_t last, float *output) {
    for (int64_t i = first; i < last; ++i)
        output[i] = (step.add ? output[i] : 0.0f) + (step.bias ? step.bias[i] : 0.0f);
}
