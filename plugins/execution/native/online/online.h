// What Python hands to the kernels for one observation: structures of plain C, mirrored by ctypes in
// plugins/execution/online/library.py. Raise ONLINE_ABI with every change of them or of Pattern, and
// whenever what an exported function does changes.

#pragma once

#include "../common/pattern.h"

static const int64_t ONLINE_ABI = 5;

enum Kind : int64_t { DENSE = 0, SPARSE = 1, NORM = 2, ACTIVATION = 3 };

// One operation of a network: a linear layer, a layer norm, or an activation. Buffers that two
// steps share are what joins them; gradients add up in theirs.
struct Step {
    int64_t kind, inputs, outputs;
    int64_t offset;         // of the weight in the flat vectors; the bias follows it
    int64_t count;          // of weights
    float *weight, *bias;   // either may be null
    const int32_t *weight_mask, *bias_mask;  // a word per weight, all bits set where it lives
    const Pattern *pattern;            // of a sparse layer; kept weights only
    float *input, *output;  // of the first observation; the other's lie `other` floats on
    float *input_gradient;  // null where nobody asks for it
    float *output_gradient;
    float *normal;          // [outputs] of a layer norm, before its weight and bias
    float *partial;         // [slices, inputs]: of a dense layer with more than one slice
    double *norms;          // [tasks of the backward pass]
    int64_t slices;         // runs of rows in the backward pass of a dense layer, by its size only
    int64_t threads;        // that a linear layer may use
    int64_t add;            // the output is added to what is there: a residual connection
    double scale;           // 1 / sqrt(variance + epsilon) of the last forward
    float epsilon;
    float slope;            // of an activation below zero: 0 is ReLU
};

struct Network {
    Step *steps;
    int64_t count;
    float *input;
    int64_t inputs;
    float *output;
    int64_t outputs;
    float *gradients;       // of all buffers between the input and the outputs, and of these
    int64_t gradient_count;
    float *output_gradients;
    int64_t other;          // from a buffer of the first observation to the second's
};

// One pass over all steps.
struct Pass {
    int64_t rows;            // observations: 1 or 2
    int64_t other;
    const float *direction;  // of a move: weights += scale direction
    float *trace;            // backward: trace <- scale trace + gradient
    float scale;
};
