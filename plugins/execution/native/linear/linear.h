// What Python hands to the kernels: structures of plain C, mirrored by ctypes in
// plugins/execution/linear/library.py. Raise LINEAR_ABI with every change of them or of Pattern, and
// whenever what an exported function does changes.

#pragma once

#include "../common/pattern.h"

static const int64_t LINEAR_ABI = 2;

// One layer of a chain. Packed activations are [ceil(batch / lanes)][features][lanes], and zero
// in the lanes that the batch does not fill.
struct Link {
    const Pattern *layer;
    const void *weight, *bias;             // [count]; [outputs] or null
    void *weight_gradient, *bias_gradient; // null where nobody asks
    void *input, *output;                  // packed; the output after the ReLU
    void *input_gradient;                  // packed; null where nobody asks
    void *output_gradient;                 // packed: of the linear part
    int64_t relu;
};

struct Chain {
    const Link *links;
    int64_t count, batch, lanes;
    int64_t type;    // 0 float; 1 double; 2 float, inputs of products rounded to bfloat16 (weights are given so)
    int64_t threads;
    const void *x;   // [batch, inputs of the first]: forward
    void *y;         // [batch, outputs of the last]: forward
    const void *dy;  // like y: backward
    void *dx;        // like x, or null: backward
    void *scratch;   // as many elements as the largest layer has entries: backward
};
