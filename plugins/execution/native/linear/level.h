// All kernels, for one instruction set: no include guards here, nor in what it includes.

#include "../common/vectors.h"
#include "pack.h"
#include "tiled_csr.h"
#include "blocks16.h"
#include "chain.h"
