// All kernels, for one instruction set: no include guards here, nor in what it includes.

#include "sparse_vectors.h"
#include "sparse_pack.h"
#include "sparse_panels.h"
#include "sparse_blocks.h"
#include "sparse_chain.h"
