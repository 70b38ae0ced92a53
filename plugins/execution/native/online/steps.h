// The steps of a network, forward and backward.
//
// A large layer is cut into tasks, for threads: forward by rows, backward by panels of a sparse
// layer (each has inputs of its own) and by slices of a dense one (each sums gradients of the
// input by itself, and they are added up in order). Where it is cut does not change a result.

constexpr int64_t ROWS_EACH = 16;  // of a task forward: at least, and a multiple of it

// --- linear layers ----------------------------------------------------------------------

static void forward_rows(const Step &step, const Pass &pass, int64_t first, int64_t last) {
    for (int64_t which = 0; which < pass.rows; ++which)
        begin(step, first, last, step.output + which * pass.other);
    if (step.kind == DENSE) {
        forward_dense(step, pass, first, last);
    } else if (step.pattern->kind == 1) {
        forward_blocks(step, pass, first / SIDE, last / SIDE);
    } else if (step.pattern->panel <= 32) {
        forward_panels<2>(step, pass, first, last);
    } else if (step.pattern->panel <= 64) {
        forward_panels<4>(step, pass, first, last);
    } else if (step.pattern->panel <= 128) {
        forward_panels<8>(step, pass, first, last);
    } else {
        forward_panels<16>(step, pass, first, last);
    }
}

static double accumulate_panel_of(const Step &step, const Pass &pass, int64_t number) {
    if (step.pattern->panel <= 32) return accumulate_panels<2>(step, pass, number);
    if (step.pattern->panel <= 64) return accumulate_panels<4>(step, pass, number);
    if (step.pattern->panel <= 128) return accumulate_panels<8>(step, pass, number);
    return accumulate_panels<16>(step, pass, number);
}

static double accumulate_slice(const Step &step, const Pass &pass, int64_t slice) {
    const int64_t first = step.outputs * slice / step.slices;
    const int64_t last = step.outputs * (slice + 1) / step.slices;
    float *below = step.input_gradient;
    if (below && step.slices > 1) {
        below = step.partial + slice * step.inputs;
        std::memset(below, 0, bytes(step.inputs));
    }
    return accumulate_dense(step, pass, first, last, below);
}

INLINE void forward_linear(const Step &step, const Pass &pass) {
    const int64_t threads = step.threads;
    const int64_t tasks = (step.outputs + ROWS_EACH - 1) / ROWS_EACH;
    if (threads <= 1) return forward_rows(step, pass, 0, step.outputs);
    parallel(threads, threads, [&](int64_t task) {
        const int64_t first = tasks * task / threads * ROWS_EACH;
        const int64_t last = tasks * (task + 1) / threads * ROWS_EACH;
        forward_rows(step, pass, first, last < step.outputs ? last : step.outputs);
    });
}

INLINE int64_t backward_tasks(const Step &step) {
    if (step.kind == DENSE) return step.slices;
    const Pattern &layer = *step.pattern;
    const int64_t side = layer.kind == 1 ? SIDE : layer.panel;
    return (layer.inputs + side - 1) / side;
}

INLINE double accumulate_linear(const Step &step, const Pass &pass) {
    const int64_t tasks = backward_tasks(step);
    parallel(tasks, step.threads, [&](int64_t task) {
        step.norms[task] = step.kind == DENSE             ? accumulate_slice(step, pass, task)
                           : step.pattern->kind == 1 ? accumulate_blocks(step, pass, task)
                                                       : accumulate_panel_of(step, pass, task);
    });
    double norm = 0;
    for (int64_t task = 0; task < tasks; ++task) norm += step.norms[task];
    if (step.kind == DENSE && step.slices > 1 && step.input_gradient)
        for (int64_t slice = 0; slice < step.slices; ++slice)
            move_some(step.input_gradient, step.partial + slice * step.inputs, 1.0f, step.inputs);
    if (!step.bias) return norm;
    float *trace = pass.trace + step.offset + step.count;
    return norm + trace_few(trace, step.output_gradient, step.bias_mask, pass.scale, step.outputs);
}

// --- layer norm -------------------------------------------------------------------------

INLINE double normalise(const Step &step, const float *x, float *normal, float *output) {
    const int64_t n = step.outputs;
    double sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += x[i];
    const double mean = sum / static_cast<double>(n);
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
    const double scale = 1.0 / std::sqrt(squares / static_cast<double>(n) + step.epsilon);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        normal[i] = static_cast<float>((x[i] - mean) * scale);
        output[i] = normal[i];
    }
    if (step.weight) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) output[i] *= step.weight[i];
    }
    if (step.bias) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) output[i] += step.bias[i];
    }
    return scale;
}

INLINE void forward_norm(Step &step, const Pass &pass) {
    for (int64_t which = pass.rows; which-- > 0;) {
        const int64_t on = which * pass.other;
        step.scale = normalise(step, step.input + on, step.normal + on, step.output + on);
    }
}

// The gradient of the output is used up.
INLINE double accumulate_norm(const Step &step, const Pass &pass) {
    const int64_t n = step.outputs;
    const float *normal = step.normal;
    float *g = step.output_gradient, *below = step.input_gradient;
    double norm = 0;
    if (step.bias)
        norm = trace_few(pass.trace + step.offset + step.count, g, step.bias_mask, pass.scale, n);
    if (step.weight) {
        // The second observation's buffer is free by now.
        float *product = step.normal + pass.other;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) product[i] = g[i] * normal[i];
        norm += trace_few(pass.trace + step.offset, product, step.weight_mask, pass.scale, n);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] *= step.weight[i];
    }
    // dx = (g - mean(g) - normal mean(g normal)) / sqrt(variance + epsilon)
    double sum = 0, along = 0;
#pragma omp simd reduction(+ : sum, along)
    for (int64_t i = 0; i < n; ++i) {
        sum += g[i];
        along += static_cast<double>(g[i]) * normal[i];
    }
    const double mean = sum / static_cast<double>(n), share = along / static_cast<double>(n);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
        below[i] += static_cast<float>((g[i] - mean - normal[i] * share) * step.scale);
    return norm;
}

// --- activations, in place --------------------------------------------------------------

INLINE void forward_activation(const Step &step, const Pass &pass) {
    const int64_t n = step.outputs;
    const float slope = step.slope;
    for (int64_t which = 0; which < pass.rows; ++which) {
        float *y = step.output + which * pass.other;
        if (slope == 0.0f) {
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) y[i] = y[i] <= 0 ? 0.0f : y[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) y[i] = y[i] > 0 ? y[i] : slope * y[i];
        }
    }
}

INLINE void accumulate_activation(const Step &step) {
    const int64_t n = step.outputs;
    const float *y = step.output;  // of the sign of the activation's input: slope >= 0
    float *g = step.output_gradient;
    const float slope = step.slope;
    if (slope == 0.0f) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] = y[i] <= 0 ? 0.0f : g[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) g[i] = y[i] > 0 ? g[i] : slope * g[i];
    }
}

// --- the network ------------------------------------------------------------------------

static void forward(const Network &network, const Pass &pass) {
    for (int64_t i = 0; i < network.count; ++i) {
        Step &step = network.steps[i];
        if (step.kind == NORM)
            forward_norm(step, pass);
        else if (step.kind == ACTIVATION)
            forward_activation(step, pass);
        else
            forward_linear(step, pass);
    }
}

static double accumulate(const Network &network, const Pass &pass) {
    double norm = 0;
    for (int64_t i = network.count; i-- > 0;) {
        const Step &step = network.steps[i];
        if (step.kind == NORM)
            norm += accumulate_norm(step, pass);
        else if (step.kind == ACTIVATION)
            accumulate_activation(step);
        else
            norm += accumulate_linear(step, pass);
    }
    return norm;
}

static void move(const Network &network, const Pass &pass) {
    for (int64_t i = 0; i < network.count; ++i) {
        const Step &step = network.steps[i];
        const float *along = pass.direction + step.offset;
        if (step.weight) move_some(step.weight, along, pass.scale, step.count);
        if (step.bias) move_some(step.bias, along + step.count, pass.scale, step.outputs);
    }
}

static const Version VERSION = {forward, accumulate, move};
