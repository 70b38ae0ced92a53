// Sparse layers of whole blocks of 16 x 16 on one observation, or two at once in a forward pass.

constexpr int64_t SIDE = 16;
constexpr int64_t BLOCK = SIDE * SIDE;
constexpr int PARTS = SIDE / LANES;  // vectors in a row of a block

struct Blocks {
    const int32_t *starts, *columns, *t_starts, *t_rows, *t_places;
    INLINE_MEMBER explicit Blocks(const Pattern &layer)
        : starts(layer.starts),
          columns(static_cast<const int32_t *>(layer.columns)),
          t_starts(layer.t_starts),
          t_rows(static_cast<const int32_t *>(layer.t_rows)),
          t_places(static_cast<const int32_t *>(layer.t_places)) {}
};

// output += W x for the 16 rows of one row of blocks.
INLINE void multiply_blocks(const Step &step, const Blocks &blocks, int64_t row, const float *input,
                            float *output) {
    Floats sums[SIDE] = {};
    for (int64_t block = blocks.starts[row]; block < blocks.starts[row + 1]; ++block) {
        const float *weight = step.weight + block * BLOCK, *x = input + blocks.columns[block] * SIDE;
        for (int part = 0; part < PARTS; ++part) {
            const Floats some = load(x + part * LANES);
            for (int r = 0; r < SIDE; ++r)
                sums[r] += load(weight + r * SIDE + part * LANES) * some;
        }
    }
    for (int part = 0; part < PARTS; ++part) {
        float *y = output + row * SIDE + part * LANES;
        store(y, load(y) + sums_of<float>(sums + part * LANES));
    }
}

// For rows of blocks.
INLINE void forward_blocks(const Step &step, const Pass &pass, int64_t first, int64_t last) {
    const Blocks blocks(*step.pattern);
    for (int64_t row = first; row < last; ++row)
        for (int64_t which = 0; which < pass.rows; ++which)
            multiply_blocks(step, blocks, row, step.input + which * pass.other,
                            step.output + which * pass.other);
}

// One column of blocks: trace <- decay trace + outer(g, x), its L1 norm, and below += W^T g.
INLINE double accumulate_blocks(const Step &step, const Pass &pass, int64_t column) {
    const Blocks blocks(*step.pattern);
    const float *input = step.input + column * SIDE;
    Floats x[PARTS], below[PARTS] = {}, norm{};
    for (int part = 0; part < PARTS; ++part) x[part] = load(input + part * LANES);
    const Floats decay = all(pass.scale);
    double sum = 0;
    for (int64_t at = blocks.t_starts[column]; at < blocks.t_starts[column + 1]; ++at) {
        const int64_t from = blocks.t_places[at] * BLOCK;
        const float *g = step.output_gradient + blocks.t_rows[at] * SIDE;
        const float *weight = step.weight + from;
        float *trace = pass.trace + step.offset + from;
        norm = Floats{};
        for (int r = 0; r < SIDE; ++r)
            for (int part = 0; part < PARTS; ++part) {
                const int64_t i = r * SIDE + part * LANES;
                const Floats value = traced(load(trace + i), decay, g[r] * x[part]);
                store(trace + i, value);
                norm += magnitude(value);
                below[part] += g[r] * load(weight + i);
            }
        sum += static_cast<double>(total(norm));
    }
    if (step.input_gradient)
        for (int part = 0; part < PARTS; ++part) {
            float *to = step.input_gradient + column * SIDE + part * LANES;
            store(to, load(to) + below[part]);
        }
    return sum;
}
