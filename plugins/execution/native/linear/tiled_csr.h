// Included like ../common/vectors.h: layers whose kept entries are listed one by one, in panels.

// A row of the output takes as many registers as a quarter of them: the rest is for loads.
template <class E, int V>
static constexpr int strip() {
    return V < REGISTERS / 4 ? V : REGISTERS / 4;
}

// What becomes of a row of sums once it is complete.
struct Ending {
    bool relu, round;
};

template <class E, int S>
INLINE void finish(Vec<E> *sums, const E *mask, Ending ending) {
    if (ending.relu)
        for (int q = 0; q < S; ++q)
            sums[q] = rectified<E>(sums[q], mask ? load(mask + q * Vectors<E>::width) : sums[q]);
    if (ending.round)
        for (int q = 0; q < S; ++q) sums[q] = to_bfloat16(sums[q]);
}

// What the next tile reads comes from a farther cache meanwhile, some lines with every row of this
// one: it will be read in no order that the processor could foresee.
struct Ahead {
    const char *at = nullptr, *end = nullptr;
    int64_t step = 0;

    Ahead() = default;
    // `bytes` from there, within so many steps.
    INLINE_MEMBER Ahead(const void *from, int64_t bytes, int64_t steps)
        : at(static_cast<const char *>(from)), end(at + bytes), step((bytes / 64 + steps) / steps * 64) {}

    INLINE_MEMBER void fetch() {
        for (int64_t i = 0; i < step && at < end; i += 64, at += 64) __builtin_prefetch(at, 0, 2);
    }
};

// output[i] (+)= sum of weight * input[column], for rows [first, last) and one panel. A function of
// its own, so that the innermost loop has all registers.
template <class E, int V>
static NOINLINE void multiply_panel(const int32_t *starts, const uint8_t *columns, const E *weight,
                                    const E *bias, int64_t first, int64_t last, const E *input,
                                    E *output, bool begins, Ending ending, Ahead ahead) {
    constexpr int w = Vectors<E>::width, S = strip<E, V>();
    constexpr int64_t lanes = V * w;
    for (int64_t i = first; i < last; ++i) {
        ahead.fetch();
        for (int s = 0; s < V; s += S) {
            E *const row = output + i * lanes + s * w;
            const E *const x = input + s * w;
            Vec<E> sums[S];
            if (begins)
                for (int q = 0; q < S; ++q) sums[q] = Vec<E>{} + (bias ? bias[i] : E(0));
            else
                for (int q = 0; q < S; ++q) sums[q] = load(row + q * w);
            for (int64_t e = starts[i], end = starts[i + 1]; e < end; ++e) {
                const E *const column = in_register(x + columns[e] * lanes);
                const E value = weight[e];
#pragma GCC unroll 16
                for (int q = 0; q < S; ++q) sums[q] += value * load(column + q * w);
            }
            finish<E, S>(sums, nullptr, ending);
            for (int q = 0; q < S; ++q) store(row + q * w, sums[q]);
        }
    }
}

// Rows of a task: few enough to leave several tasks, and for their sums to stay in the second
// cache while the panels go by.
INLINE int64_t rows_at_once(int64_t outputs) {
    return outputs >= 4096 ? 1024 : outputs >= 1024 ? 512 : 256;
}

template <class E, int V>
static void forward_panels(const Chain &chain, const Link &link, Ending ending) {
    constexpr int64_t lanes = V * Vectors<E>::width;
    const Pattern &layer = *link.layer;
    const int64_t at_once = rows_at_once(layer.outputs);
    const int64_t pieces = (layer.outputs + at_once - 1) / at_once;
    const E *const weight = static_cast<const E *>(link.weight);
    const E *const bias = static_cast<const E *>(link.bias);
    const E *const inputs = static_cast<const E *>(link.input);
    E *const outputs = static_cast<E *>(link.output);
    parallel(tiles_of(chain) * pieces, chain.threads, [=, &chain, &layer](int64_t task) {
        const int64_t tile = task / pieces, first = task % pieces * at_once;
        const int64_t last = first + at_once < layer.outputs ? first + at_once : layer.outputs;
        const E *const input = inputs + tile * layer.inputs * lanes;
        E *const output = outputs + tile * layer.outputs * lanes;
        const int32_t *starts = layer.starts;
        for (int64_t k = 0; k < layer.inputs; k += layer.panel, starts += layer.outputs + 1) {
            const int64_t next = k + layer.panel, after = layer.inputs - next;
            const int64_t columns = after < layer.panel ? after : layer.panel;
            const Ahead ahead =
                after > 0 ? Ahead(input + next * lanes,
                                  columns * lanes * static_cast<int64_t>(sizeof(E)), last - first)
                          : Ahead();
            multiply_panel<E, V>(starts, static_cast<const uint8_t *>(layer.columns), weight, bias,
                                 first, last, input + k * lanes, output, k == 0,
                                 after > 0 ? Ending{} : ending, ahead);
        }
        clear_unfilled(chain, tile, output + first * lanes, last - first);
    });
}

// --- backward --------------------------------------------------------------------------

// Products of gradient and input wait here for others: lanes are summed for many at once.
template <class E>
struct Waiting {
    static constexpr int at_once = 32;
    Vec<E> products[at_once + 256];  // a column has at most 256 entries in a row block
    int64_t count = 0;
    E *sums;  // where the next sum goes
    bool add;

    // Sum whole vectors' worth; the rest goes on waiting.
    INLINE_MEMBER void flush() {
        constexpr int w = Vectors<E>::width;
        int64_t done = 0;
        for (; done + w <= count; done += w, sums += w) {
            const Vec<E> total = sums_of<E>(products + done);
            store(sums, add ? load(sums) + total : total);
        }
        count -= done;
        for (int64_t i = 0; i < count; ++i) products[i] = products[done + i];
    }

    INLINE_MEMBER void finish() {
        constexpr int w = Vectors<E>::width;
        flush();
        for (int64_t i = count; i < w; ++i) products[i] = Vec<E>{};
        E last[w];
        store(last, sums_of<E>(products));
        for (int64_t i = 0; i < count; ++i) sums[i] = add ? sums[i] + last[i] : last[i];
    }
};

// One column of one tile, from the entries [e, end) of the transposed index: its input gradient,
// and the products for the weight gradients. Both read the output gradient once.
template <class E, int V, int S, bool for_input, bool for_weight>
INLINE void backward_column(const uint8_t *rows, const uint16_t *places, int64_t e, int64_t end,
                            const E *weight, const E *gradient, const E *input, Vec<E> *sums,
                            Vec<E> *products, bool add) {
    constexpr int w = Vectors<E>::width;
    constexpr int64_t lanes = V * w;
    Vec<E> x[S];
    if (for_weight)
        for (int q = 0; q < S; ++q) x[q] = load(input + q * w);
    for (; e < end; ++e, ++products) {
        const E *const row = in_register(gradient + rows[e] * lanes);
        const E value = for_input ? weight[places[e]] : E(0);
        Vec<E> even{}, odd{};
#pragma GCC unroll 16
        for (int q = 0; q < S; ++q) {
            const Vec<E> g = held<E>(load(row + q * w));
            if (for_input) sums[q] += value * g;
            if (for_weight) {
                if (q == 0)
                    even = x[q] * g;
                else if (q == 1)
                    odd = x[q] * g;
                else if (q & 1)
                    odd += x[q] * g;
                else
                    even += x[q] * g;
            }
        }
        if (for_weight) {
            if (S > 1) even += odd;
            *products = add ? *products + even : even;
        }
    }
}

// The tile of one panel and one row block, for one tile of the batch; pointers to its beginnings.
// A function of its own, so that the innermost loop has all registers.
template <class E>
struct Tile {
    const int32_t *starts;  // of the transposed index
    const uint8_t *rows;
    const uint16_t *places;
    const E *weight, *gradient, *input;
    E *input_gradient;
    E *sums;  // of products, for the weight gradients: one per entry, in the transposed order
    int64_t columns;
    bool begins;  // the first row block: of the input gradient
    bool adds;    // not the first tile of the batch: of the sums
    Ahead ahead;
};

template <class E, int V, bool for_input, bool for_weight>
static NOINLINE void backward_tile(const Tile<E> &tile, Ending ending) {
    constexpr int w = Vectors<E>::width, S = strip<E, V>();
    constexpr int64_t lanes = V * w;
    Waiting<E> waiting;
    waiting.sums = tile.sums;
    waiting.add = tile.adds;
    Ahead ahead = tile.ahead;
    for (int64_t k = 0; k < tile.columns; ++k) {
        ahead.fetch();
        const int64_t begin = tile.starts[k], end = tile.starts[k + 1];
        for (int s = 0; s < V; s += S) {
            E *const input_gradient = tile.input_gradient + k * lanes + s * w;
            const E *const input = tile.input + k * lanes + s * w;
            Vec<E> sums[S] = {};
            if (for_input && !tile.begins)
                for (int q = 0; q < S; ++q) sums[q] = load(input_gradient + q * w);
            backward_column<E, V, S, for_input, for_weight>(
                tile.rows, tile.places, begin, end, tile.weight, tile.gradient + s * w, input,
                sums, waiting.products + waiting.count, s > 0);
            if (for_input) {
                finish<E, S>(sums, input, ending);
                for (int q = 0; q < S; ++q) store(input_gradient + q * w, sums[q]);
            }
        }
        if (for_weight) {
            waiting.count += end - begin;
            if (waiting.count >= Waiting<E>::at_once) waiting.flush();
        }
    }
    if (for_weight) waiting.finish();
}

template <class E, int V, bool for_input, bool for_weight>
static void backward_panels(const Chain &chain, const Link &link, Ending ending) {
    constexpr int64_t lanes = V * Vectors<E>::width;
    const Pattern &layer = *link.layer;
    const int64_t panels = (layer.inputs + layer.panel - 1) / layer.panel;
    const int64_t blocks = (layer.outputs + layer.block - 1) / layer.block;
    E *const scratch = static_cast<E *>(chain.scratch);
    parallel(panels, chain.threads, [=, &chain, &link, &layer](int64_t panel) {
        const int64_t first = panel * layer.panel, tiles = tiles_of(chain);
        const int64_t last = first + layer.panel < layer.inputs ? first + layer.panel : layer.inputs;
        for (int64_t block = 0; block < blocks; ++block) {
            const int64_t top = block * layer.block;
            const int32_t base = layer.starts[panel * (layer.outputs + 1) + top];
            const int32_t *const starts = layer.t_starts + block * (layer.inputs + 1);
            const uint16_t *const places = static_cast<const uint16_t *>(layer.t_places);
            const bool complete = block + 1 == blocks;
            for (int64_t i = 0; i < tiles; ++i) {
                const int64_t input = (i * layer.inputs + first) * lanes;
                Tile<E> tile;
                tile.starts = starts + first;
                tile.rows = static_cast<const uint8_t *>(layer.t_rows);
                tile.places = places;
                tile.weight = static_cast<const E *>(link.weight) + base;
                tile.gradient = static_cast<const E *>(link.output_gradient) +
                                (i * layer.outputs + top) * lanes;
                tile.input = static_cast<const E *>(link.input) + input;
                tile.input_gradient =
                    static_cast<E *>(link.input_gradient) + (for_input ? input : 0);
                tile.sums = scratch + starts[first];
                tile.columns = last - first;
                tile.begins = block == 0;
                tile.adds = i > 0;
                const int64_t next = i + 1 < tiles ? top : top + layer.block;
                const int64_t left = layer.outputs - next;
                if (left > 0)
                    tile.ahead = Ahead(static_cast<const E *>(link.output_gradient) +
                                           ((i + 1) % tiles * layer.outputs + next) * lanes,
                                       (left < layer.block ? left : layer.block) * lanes *
                                           static_cast<int64_t>(sizeof(E)),
                                       last - first);
                backward_tile<E, V, for_input, for_weight>(tile, complete ? ending : Ending{});
                if (for_input && complete)
                    clear_unfilled(chain, i, tile.input_gradient, last - first);
            }
            if (!for_weight) continue;
            E *const gradients = static_cast<E *>(link.weight_gradient) + base;
            for (int32_t e = starts[first]; e < starts[last]; ++e)
                gradients[places[e]] = scratch[e];
        }
    });
}
