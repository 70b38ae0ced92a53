// Dense layers on one observation, or two at once in a forward pass.

// The dot products of `rows` consecutive rows with one vector: each element of it is loaded once,
// and the sums do not wait for each other. The simd reduction lets the compiler reorder sums.
template <int rows>
INLINE void multiply(const float *weight, const float *x, int64_t n, float *output) {
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
    for (int r = 0; r < rows; ++r) output[r] += sums[r];
}

INLINE void forward_dense(const Step &step, const Pass &pass, int64_t first, int64_t last) {
    const int64_t n = step.inputs;
    for (int64_t row = first; row < last;) {
        const int64_t rows = last - row >= 4 ? 4 : 1;
        const float *weight = step.weight + row * n;
        for (int64_t which = 0; which < pass.rows; ++which) {
            const float *x = step.input + which * pass.other;
            float *y = step.output + which * pass.other + row;
            rows == 4 ? multiply<4>(weight, x, n, y) : multiply<1>(weight, x, n, y);
        }
        row += rows;
    }
}

// One pass over `rows` consecutive rows: trace <- decay trace + outer(g, x), its L1 norm, and
// below += W^T g.
template <int rows, bool masked, bool descend>
INLINE double accumulate_rows(const Step &step, const Pass &pass, int64_t first, float *below) {
    const int64_t n = step.inputs;
    const float decay = pass.scale;
    const float *g = step.output_gradient + first, *x = step.input;
    const float *weight = step.weight + first * n;
    const int32_t *mask = masked ? step.weight_mask + first * n : nullptr;
    float *z = pass.trace + step.offset + first * n;
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
INLINE double accumulate_some(const Step &step, const Pass &pass, int64_t first, int64_t last,
                              float *below) {
    double norm = 0;
    int64_t row = first;
    for (; row + 4 <= last; row += 4)
        norm += accumulate_rows<4, masked, descend>(step, pass, row, below);
    for (; row < last; ++row)
        norm += accumulate_rows<1, masked, descend>(step, pass, row, below);
    return norm;
}

INLINE double accumulate_dense(const Step &step, const Pass &pass, int64_t first, int64_t last,
                               float *below) {
    if (step.weight_mask)
        return below ? accumulate_some<true, true>(step, pass, first, last, below)
                     : accumulate_some<true, false>(step, pass, first, last, below);
    return below ? accumulate_some<false, true>(step, pass, first, last, below)
                 : accumulate_some<false, false>(step, pass, first, last, below);
}
