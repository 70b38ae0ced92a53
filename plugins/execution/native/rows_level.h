// All kernels for one observation, for one instruction set: no include guards here, nor in what
// it includes.

#include "sparse_vectors.h"
#include "rows_common.h"
#include "rows_dense.h"
#include "rows_panels.h"
#include "rows_blocks.h"
#include "rows_steps.h"
