// Whether an index structure is what the kernels rely on: they read and write where it points.
// Every entry is looked at. The codes are those of plugins/execution/linear/library.py.

#pragma once

#include "../linear/linear.h"

// Ranges follow one another from `from`, and none ends before it begins.
static bool rising(const int32_t *starts, int64_t count, int64_t from) {
    if (starts[0] != from) return false;
    for (int64_t i = 0; i < count; ++i)
        if (starts[i + 1] < starts[i]) return false;
    return true;
}

// Within each range, numbers rise and are below `size`.
template <class Index>
static bool sorted_below(const int32_t *starts, int64_t lines, const Index *numbers, int64_t size) {
    for (int64_t i = 0; i < lines; ++i) {
        int64_t before = -1;
        for (int64_t e = starts[i]; e < starts[i + 1]; before = numbers[e++])
            if (numbers[e] <= before || numbers[e] >= size) return false;
    }
    return true;
}

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t validate_panels(const SparseLayer &layer) {
    const int64_t outputs = layer.outputs, inputs = layer.inputs;
    if (layer.panel < 1 || layer.panel > 256 || layer.block < 1 || layer.block > 256) return 1;
    const uint8_t *const columns = static_cast<const uint8_t *>(layer.columns);
    const uint8_t *const rows = static_cast<const uint8_t *>(layer.t_rows);
    const uint16_t *const places = static_cast<const uint16_t *>(layer.t_places);
    int64_t end = 0;
    for (int64_t first = 0, p = 0; first < inputs; first += layer.panel, ++p) {
        const int32_t *const starts = layer.starts + p * (outputs + 1);
        if (!rising(starts, outputs, end) || starts[outputs] > layer.count) return 2;
        end = starts[outputs];
    }
    if (end != layer.count) return 2;
    for (int64_t first = 0, p = 0; first < inputs; first += layer.panel, ++p)
        if (!sorted_below(layer.starts + p * (outputs + 1), outputs, columns,
                          smaller(layer.panel, inputs - first)))
            return 3;
    end = 0;
    for (int64_t top = 0, r = 0; top < outputs; top += layer.block, ++r) {
        const int32_t *const starts = layer.t_starts + r * (inputs + 1);
        if (!rising(starts, inputs, end) || starts[inputs] > layer.count) return 4;
        end = starts[inputs];
        if (!sorted_below(starts, inputs, rows, smaller(layer.block, outputs - top))) return 5;
    }
    if (end != layer.count) return 4;
    for (int64_t top = 0, r = 0; top < outputs; top += layer.block, ++r) {
        const int32_t *const t_starts = layer.t_starts + r * (inputs + 1);
        for (int64_t k = 0; k < inputs; ++k) {
            const int32_t *const starts = layer.starts + k / layer.panel * (outputs + 1);
            for (int64_t e = t_starts[k]; e < t_starts[k + 1]; ++e) {
                const int64_t row = top + rows[e], value = starts[top] + places[e];
                if (value < starts[row] || value >= starts[row + 1]) return 6;
                if (columns[value] != k % layer.panel) return 6;
            }
        }
    }
    return 0;
}

static int64_t validate_blocks(const SparseLayer &layer) {
    if (layer.outputs % 16 || layer.inputs % 16 || layer.count % 256) return 1;
    const int64_t rows = layer.outputs / 16, columns = layer.inputs / 16, count = layer.count / 256;
    const int32_t *const others = static_cast<const int32_t *>(layer.columns);
    const int32_t *const t_rows = static_cast<const int32_t *>(layer.t_rows);
    const int32_t *const places = static_cast<const int32_t *>(layer.t_places);
    if (!rising(layer.starts, rows, 0) || layer.starts[rows] != count) return 2;
    if (!sorted_below(layer.starts, rows, others, columns)) return 3;
    if (!rising(layer.t_starts, columns, 0) || layer.t_starts[columns] != count) return 4;
    if (!sorted_below(layer.t_starts, columns, t_rows, rows)) return 5;
    for (int64_t k = 0; k < columns; ++k)
        for (int64_t e = layer.t_starts[k]; e < layer.t_starts[k + 1]; ++e) {
            const int32_t *const line = layer.starts + t_rows[e];
            if (places[e] < line[0] || places[e] >= line[1] || others[places[e]] != k) return 6;
        }
    return 0;
}

// 0, or what is wrong.
static int64_t problem_of(const SparseLayer &layer) {
    if (layer.outputs < 1 || layer.inputs < 1 || layer.count < 0) return 1;
    if (layer.kind != 0 && layer.kind != 1) return 1;
    return layer.kind == 0 ? validate_panels(layer) : validate_blocks(layer);
}
