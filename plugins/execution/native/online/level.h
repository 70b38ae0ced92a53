// All kernels for one observation, for one instruction set: no include guards here, nor in what
// it includes.

#include "../common/vectors.h"
#include "common.h"
#include "dense.h"
#include "tiled_csr.h"
#include "blocks16.h"
#include "steps.h"
