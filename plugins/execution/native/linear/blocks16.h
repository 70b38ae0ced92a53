// Included like ../common/vectors.h: layers whose kept entries come in whole blocks of 16 x 16.

static const int SIDE = 16, GROUP = 4;  // a group's rows of the output are summed at once

// Both directions: block row `line` of the output is the sum of its blocks times what they read.
// Entry (output j, input k) of a block lies at j * across + k * along.
struct Direction {
    const int32_t *starts, *others, *places;  // places null: block number e itself
    int64_t outputs, inputs, across, along;
};

INLINE Direction forward_direction(const Pattern &layer) {
    return {layer.starts, static_cast<const int32_t *>(layer.columns), nullptr, layer.outputs,
            layer.inputs, SIDE, 1};
}

INLINE Direction backward_direction(const Pattern &layer) {
    return {layer.t_starts, static_cast<const int32_t *>(layer.t_rows),
            static_cast<const int32_t *>(layer.t_places), layer.inputs, layer.outputs, 1, SIDE};
}

template <class E, int V, int S>
INLINE void multiply_group(const Direction &way, int64_t line, int group, const E *weight,
                           const E *bias, const E *input, E *output, const E *mask, Ending ending) {
    constexpr int w = Vectors<E>::width;
    constexpr int64_t lanes = V * w;
    Vec<E> sums[GROUP][S];
    for (int j = 0; j < GROUP; ++j)
        for (int q = 0; q < S; ++q) sums[j][q] = Vec<E>{} + (bias ? bias[j] : E(0));
    for (int32_t e = way.starts[line]; e < way.starts[line + 1]; ++e) {
        const int64_t number = way.places ? way.places[e] : e;
        const E *values = weight + number * (SIDE * SIDE) + group * way.across;
        const E *x = input + static_cast<int64_t>(way.others[e]) * (SIDE * lanes);
        for (int k = 0; k < SIDE; ++k, values += way.along, x += lanes) {
            Vec<E> column[S];
#pragma GCC unroll 16
            for (int q = 0; q < S; ++q) column[q] = load(x + q * w);
#pragma GCC unroll 16
            for (int j = 0; j < GROUP; ++j)
#pragma GCC unroll 16
                for (int q = 0; q < S; ++q) sums[j][q] += values[j * way.across] * column[q];
        }
    }
    for (int j = 0; j < GROUP; ++j) {
        finish<E, S>(sums[j], mask ? mask + j * lanes : nullptr, ending);
        for (int q = 0; q < S; ++q) store(output + j * lanes + q * w, sums[j][q]);
    }
}

// `mask`, if any, is like `outputs`: a ReLU's output, on the way back.
template <class E, int V>
static void multiply_blocks(const Chain &chain, const Direction &way, const E *weight,
                            const E *bias, const E *inputs, E *outputs, const E *masks,
                            Ending ending) {
    constexpr int w = Vectors<E>::width, most = REGISTERS / 8;
    constexpr int S = V < most ? V : most;
    constexpr int64_t lanes = V * w;
    const int64_t lines = way.outputs / SIDE;
    parallel(tiles_of(chain) * lines, chain.threads, [=, &chain](int64_t task) {
        const int64_t tile = task / lines, line = task % lines;
        const int64_t at = (tile * way.outputs + line * SIDE) * lanes;
        const E *const input = inputs + tile * way.inputs * lanes;
        for (int s = 0; s < V; s += S)
            for (int j = 0; j < SIDE; j += GROUP) {
                const int64_t here = at + j * lanes + s * w;
                multiply_group<E, V, S>(way, line, j, weight, bias ? bias + line * SIDE + j : bias,
                                        input + s * w, outputs + here,
                                        masks ? masks + here : masks, ending);
            }
        clear_unfilled(chain, tile, outputs + at, SIDE);
    });
}

// GROUP x GROUP entries of a block's gradient, over the whole batch.
template <class E, int V>
INLINE void outer_group(int64_t tiles, const E *gradient, int64_t gradient_tile, const E *input,
                        int64_t input_tile, E *to) {
    constexpr int w = Vectors<E>::width;
    constexpr int64_t lanes = V * w;
    Vec<E> sums[GROUP * GROUP] = {};
    for (int64_t tile = 0; tile < tiles; ++tile) {
        const E *const g = gradient + tile * gradient_tile, *const x = input + tile * input_tile;
        for (int q = 0; q < V; ++q) {
            Vec<E> column[GROUP];
#pragma GCC unroll 16
            for (int i = 0; i < GROUP; ++i) column[i] = load(x + i * lanes + q * w);
#pragma GCC unroll 16
            for (int j = 0; j < GROUP; ++j) {
                const Vec<E> row = load(g + j * lanes + q * w);
#pragma GCC unroll 16
                for (int i = 0; i < GROUP; ++i) sums[j * GROUP + i] += row * column[i];
            }
        }
    }
    E totals[GROUP * GROUP];
    for (int i = 0; i < GROUP * GROUP; i += w) store(totals + i, sums_of<E>(sums + i));
    for (int j = 0; j < GROUP; ++j)
        std::memcpy(to + j * SIDE, totals + j * GROUP, sizeof(E) * GROUP);
}

template <class E, int V>
static void gradient_blocks(const Chain &chain, const Link &link) {
    constexpr int64_t lanes = V * Vectors<E>::width;
    const Pattern &layer = *link.layer;
    const E *const gradients = static_cast<const E *>(link.output_gradient);
    const E *const inputs = static_cast<const E *>(link.input);
    E *const weight_gradient = static_cast<E *>(link.weight_gradient);
    const int32_t *const columns = static_cast<const int32_t *>(layer.columns);
    parallel(layer.outputs / SIDE, chain.threads, [=, &chain, &layer](int64_t line) {
        const int64_t tiles = tiles_of(chain);
        for (int32_t e = layer.starts[line]; e < layer.starts[line + 1]; ++e)
            for (int j = 0; j < SIDE; j += GROUP)
                for (int i = 0; i < SIDE; i += GROUP)
                    outer_group<E, V>(
                        tiles, gradients + (line * SIDE + j) * lanes, layer.outputs * lanes,
                        inputs + (static_cast<int64_t>(columns[e]) * SIDE + i) * lanes,
                        layer.inputs * lanes,
                        weight_gradient + static_cast<int64_t>(e) * (SIDE * SIDE) + j * SIDE + i);
    });
}
