// Which entries of a matrix [outputs, inputs] are kept, as Python hands it to the kernels; mirrored by
// ctypes in plugins/execution/pattern/index.py. See pattern/tiled_csr.py (kind 0) and
// pattern/blocks16.py (kind 1) for the arrays.

#pragma once

#include <cstddef>
#include <cstdint>

struct Pattern {
    int64_t outputs, inputs, count, kind, panel, block;
    const int32_t *starts;
    const void *columns;
    const int32_t *t_starts;
    const void *t_rows, *t_places;
};
