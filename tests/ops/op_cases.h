/* op_cases.h -- the one table of operations that the ops tests walk. */
#ifndef PN_TESTS_OP_CASES_H
#define PN_TESTS_OP_CASES_H

#include "device/device.h"

#include <string.h>

enum { CASE_CHAIN = 3 };

typedef struct {
  const char *name;
  pn_op_kind op[CASE_CHAIN];
  int n_ops;
  pn_shape in;
  int64_t filters;  /* conv, dense */
  pn_window window; /* conv */
  pn_window pool;
  float rate;
  int64_t more[PN_MAX_INPUTS - 1]; /* channels of the inputs after the first; add: any */
  int n_more;
  bool pad_counts;
  pn_norm norm;
  unsigned terms; /* also with these offers (bits of DDST1, DADD), which `onednn` must take */
  bool ties;      /* inputs from {0, 1, 2}: many equal maxima */
} op_case;

#define W(k, s, before, after)                                                                     \
  {                                                                                                \
    {k, k}, {s, s}, {before, before}, {                                                            \
      after, after                                                                                 \
    }                                                                                              \
  }
#define IMAGE(n, c, h, w)                                                                          \
  {                                                                                                \
    4, {                                                                                           \
      n, c, h, w                                                                                   \
    }                                                                                              \
  }
#define ROWS(n, f)                                                                                 \
  {                                                                                                \
    2, {                                                                                           \
      n, f                                                                                         \
    }                                                                                              \
  }
#define CONV(label, image, f, ...)                                                                 \
  {                                                                                                \
    .name = label, .op = {PN_OP_CONV}, .n_ops = 1, .in = image, .filters = f,                      \
    .window = __VA_ARGS__                                                                          \
  }
#define DENSE(label, shape, f)                                                                     \
  { .name = label, .op = {PN_OP_DENSE}, .n_ops = 1, .in = shape, .filters = f }
#define POOL(label, image, ...)                                                                    \
  { .name = label, .op = {PN_OP_MAXPOOL}, .n_ops = 1, .in = image, .pool = __VA_ARGS__ }
#define PLAIN(label, kind, shape)                                                                  \
  { .name = label, .op = {kind}, .n_ops = 1, .in = shape }

#define NORM(label, shape, ...)                                                                    \
  { .name = label, .op = {PN_OP_NORM}, .n_ops = 1, .in = shape, .norm = __VA_ARGS__ }
#define CONCAT(label, shape, n, ...)                                                               \
  { .name = label, .op = {PN_OP_CONCAT}, .n_ops = 1, .in = shape, .n_more = n, .more = __VA_ARGS__ }
#define AVGPOOL(label, image, counts, ...)                                                         \
  {                                                                                                \
    .name = label, .op = {PN_OP_AVGPOOL}, .n_ops = 1, .in = image, .pad_counts = counts,           \
    .pool = __VA_ARGS__                                                                            \
  }
#define TORCH_NORM                                                                                 \
  { .eps = 1e-5f, .update = 0.1f }
#define KERAS_NORM                                                                                 \
  { .eps = 1e-3f, .update = 0.01f, .biased = true }

static const op_case op_cases[] = {
    CONV("conv 1 channel, same", IMAGE(3, 1, 14, 13), 8, W(3, 1, 1, 1)),
    CONV("conv 1 channel to 32", IMAGE(2, 1, 20, 20), 32, W(3, 1, 1, 1)),
    CONV("conv valid, odd widths", IMAGE(2, 3, 9, 8), 5, W(3, 1, 0, 0)),
    CONV("conv 5x5 same", IMAGE(2, 4, 10, 11), 8, W(5, 1, 2, 2)),
    CONV("conv 32 to 64", IMAGE(2, 32, 8, 8), 64, W(3, 1, 1, 1)),
    CONV("conv 64 to 32, stride 2", IMAGE(3, 64, 13, 12), 32, W(3, 2, 1, 1)),
    CONV("conv 32 to 64, 1x1 stride 2", IMAGE(2, 32, 7, 8), 64, W(1, 2, 0, 0)),
    CONV("conv 32 to 32, 1x1", IMAGE(3, 32, 5, 7), 32, W(1, 1, 0, 0)),
    CONV("conv 32 to 96, keras same stride 2", IMAGE(2, 32, 10, 14), 96, W(3, 2, 0, 1)),
    CONV("conv 32 to 32, 5x5, many images", IMAGE(11, 32, 6, 9), 32, W(5, 1, 2, 2)),
    CONV("conv 7x7 stride 2, rgb to 64", IMAGE(3, 3, 22, 30), 64, W(7, 2, 3, 3)),
    CONV("conv 3 to 32, 5x3", IMAGE(2, 3, 19, 17), 32,
         {.kernel = {5, 3}, .stride = {2, 1}, .pad_before = {2, 1}, .pad_after = {1, 0}}),
    CONV("conv batch 1", IMAGE(1, 16, 12, 12), 32, W(3, 1, 1, 1)),
    CONV("conv stride 2", IMAGE(2, 16, 13, 12), 16, W(3, 2, 1, 1)),
    CONV("conv 7x7 stride 2, rgb", IMAGE(2, 3, 30, 30), 16, W(7, 2, 3, 3)),
    CONV("conv 1x1", IMAGE(3, 24, 7, 7), 16, W(1, 1, 0, 0)),
    CONV("conv keras same stride 2", IMAGE(2, 8, 14, 14), 8, W(3, 2, 0, 1)),
    CONV("conv 17 to 20", IMAGE(2, 17, 6, 7), 20, W(3, 1, 1, 1)),
    CONV("conv oblong", IMAGE(2, 2, 9, 12), 4,
         {.kernel = {2, 3}, .stride = {1, 2}, .pad_before = {1, 0}, .pad_after = {0, 2}}),
    DENSE("dense", ROWS(5, 37), 11),
    DENSE("dense one output", ROWS(32, 128), 1),
    DENSE("dense wide", ROWS(8, 256), 64),
    DENSE("dense of an image", IMAGE(3, 20, 4, 3), 16),
    DENSE("dense of an image, 64 outputs", IMAGE(37, 32, 3, 5), 64),
    DENSE("dense batch 1", ROWS(1, 64), 48),
    PLAIN("relu image", PN_OP_RELU, IMAGE(2, 19, 5, 6)),
    PLAIN("relu rows", PN_OP_RELU, ROWS(4, 33)),
    POOL("maxpool 2x2", IMAGE(2, 16, 8, 8), W(2, 2, 0, 0)),
    POOL("maxpool odd size", IMAGE(2, 5, 9, 7), W(2, 2, 0, 0)),
    POOL("maxpool 3x3 stride 2 padded", IMAGE(2, 12, 11, 12), W(3, 2, 1, 1)),
    {.name = "maxpool ties",
     .op = {PN_OP_MAXPOOL},
     .n_ops = 1,
     .in = IMAGE(2, 8, 12, 12),
     .pool = W(3, 2, 1, 1),
     .ties = true},
    {.name = "dropout image",
     .op = {PN_OP_DROPOUT},
     .n_ops = 1,
     .in = IMAGE(3, 10, 5, 5),
     .rate = 0.5f},
    {.name = "dropout rows", .op = {PN_OP_DROPOUT}, .n_ops = 1, .in = ROWS(6, 131), .rate = 0.25f},
    NORM("norm image", IMAGE(3, 16, 5, 6), TORCH_NORM),
    NORM("norm 19 channels, keras", IMAGE(2, 19, 7, 4), KERAS_NORM),
    NORM("norm 40 channels", IMAGE(2, 40, 3, 3), TORCH_NORM),
    NORM("norm rows", ROWS(7, 33), KERAS_NORM),
    NORM("norm frozen", IMAGE(2, 16, 4, 4), {.eps = 1e-3f, .update = 0.1f, .frozen = true}),
    NORM("norm of large planes", IMAGE(2, 8, 40, 40), TORCH_NORM),
    {.name = "norm, diff with terms",
     .op = {PN_OP_NORM},
     .n_ops = 1,
     .in = IMAGE(2, 32, 5, 4),
     .norm = TORCH_NORM,
     .terms = 1u << PN_DADD},
    {.name = "add", .op = {PN_OP_ADD}, .n_ops = 1, .in = IMAGE(2, 19, 5, 4), .n_more = 1},
    {.name = "add rows", .op = {PN_OP_ADD}, .n_ops = 1, .in = ROWS(3, 21), .n_more = 1},
    CONCAT("concat 16+32", IMAGE(2, 16, 3, 5), 1, {32}),
    CONCAT("concat four", IMAGE(3, 8, 4, 4), 3, {16, 8, 24}),
    CONCAT("concat odd", IMAGE(2, 3, 4, 5), 2, {5, 1}),
    CONCAT("concat rows", ROWS(3, 5), 1, {7}),
    PLAIN("gap", PN_OP_GAP, IMAGE(3, 19, 5, 4)),
    PLAIN("gap wide", PN_OP_GAP, IMAGE(2, 64, 7, 7)),
    AVGPOOL("avgpool 2x2", IMAGE(2, 16, 6, 8), true, W(2, 2, 0, 0)),
    AVGPOOL("avgpool 3x3 padded, counted", IMAGE(2, 5, 7, 9), true, W(3, 2, 1, 1)),
    AVGPOOL("avgpool 3x3 padded, not counted", IMAGE(2, 24, 7, 9), false, W(3, 1, 1, 1)),
    {.name = "zeropad",
     .op = {PN_OP_ZEROPAD},
     .n_ops = 1,
     .in = IMAGE(2, 19, 5, 4),
     .pool = {.kernel = {1, 1}, .stride = {1, 1}, .pad_before = {1, 2}, .pad_after = {3, 0}}},
    PLAIN("upsample", PN_OP_UPSAMPLE, IMAGE(2, 17, 3, 5)),
    PLAIN("sigmoid", PN_OP_SIGMOID, IMAGE(2, 19, 5, 4)),
    PLAIN("sigmoid rows", PN_OP_SIGMOID, ROWS(3, 21)),
    PLAIN("silu", PN_OP_SILU, IMAGE(2, 32, 5, 4)),
    PLAIN("softmax rows", PN_OP_SOFTMAX, ROWS(4, 9)),
    PLAIN("softmax channels", PN_OP_SOFTMAX, IMAGE(2, 16, 3, 5)),
    POOL("maxpool 1x1 stride 2", IMAGE(2, 16, 7, 8), W(1, 2, 0, 0)),
    PLAIN("bce", PN_OP_BCE, ROWS(9, 1)),
    PLAIN("softmax 2", PN_OP_SOFTMAX_CE, ROWS(6, 2)),
    PLAIN("softmax 7", PN_OP_SOFTMAX_CE, ROWS(6, 7)),
    PLAIN("softmax 75", PN_OP_SOFTMAX_CE, ROWS(11, 75)),
    {.name = "conv+relu",
     .op = {PN_OP_CONV, PN_OP_RELU},
     .n_ops = 2,
     .in = IMAGE(2, 16, 9, 9),
     .filters = 24,
     .window = W(3, 1, 1, 1)},
    {.name = "dense+relu",
     .op = {PN_OP_DENSE, PN_OP_RELU},
     .n_ops = 2,
     .in = IMAGE(4, 8, 3, 3),
     .filters = 32},
    {.name = "norm+relu",
     .op = {PN_OP_NORM, PN_OP_RELU},
     .n_ops = 2,
     .in = IMAGE(3, 24, 5, 4),
     .norm = TORCH_NORM},
    {.name = "norm+relu with terms",
     .op = {PN_OP_NORM, PN_OP_RELU},
     .n_ops = 2,
     .in = IMAGE(2, 16, 9, 7),
     .norm = KERAS_NORM,
     .terms = 1u << PN_DDST1 | 1u << PN_DADD},
    {.name = "norm+add+relu",
     .op = {PN_OP_NORM, PN_OP_ADD, PN_OP_RELU},
     .n_ops = 3,
     .in = IMAGE(2, 20, 6, 5),
     .norm = TORCH_NORM},
    {.name = "norm+add+relu with terms",
     .op = {PN_OP_NORM, PN_OP_ADD, PN_OP_RELU},
     .n_ops = 3,
     .in = IMAGE(2, 32, 6, 5),
     .norm = TORCH_NORM,
     .terms = 1u << PN_DDST1},
    {.name = "conv+relu+maxpool, 1 channel",
     .op = {PN_OP_CONV, PN_OP_RELU, PN_OP_MAXPOOL},
     .n_ops = 3,
     .in = IMAGE(3, 1, 16, 16),
     .filters = 32,
     .window = W(3, 1, 1, 1),
     .pool = W(2, 2, 0, 0)},
    {.name = "conv+relu+maxpool, odd",
     .op = {PN_OP_CONV, PN_OP_RELU, PN_OP_MAXPOOL},
     .n_ops = 3,
     .in = IMAGE(2, 4, 13, 11),
     .filters = 8,
     .window = W(3, 1, 0, 0),
     .pool = W(2, 2, 0, 0)},
    {.name = "conv+relu+maxpool, blocks of channels",
     .op = {PN_OP_CONV, PN_OP_RELU, PN_OP_MAXPOOL},
     .n_ops = 3,
     .in = IMAGE(3, 32, 20, 40),
     .filters = 16,
     .window = W(3, 1, 1, 1),
     .pool = W(2, 2, 0, 0)},
    {.name = "conv+relu+maxpool, blocks, odd",
     .op = {PN_OP_CONV, PN_OP_RELU, PN_OP_MAXPOOL},
     .n_ops = 3,
     .in = IMAGE(2, 16, 13, 15),
     .filters = 48,
     .window = W(3, 1, 0, 0),
     .pool = W(2, 2, 0, 0)},
    {.name = "conv+relu+maxpool, 3x3 padded",
     .op = {PN_OP_CONV, PN_OP_RELU, PN_OP_MAXPOOL},
     .n_ops = 3,
     .in = IMAGE(2, 16, 12, 12),
     .filters = 16,
     .window = W(5, 1, 2, 2),
     .pool = W(3, 2, 1, 1)},
};
enum { N_OP_CASES = sizeof op_cases / sizeof *op_cases };

static inline pn_shape window_shape(pn_shape in, int64_t channels, const pn_window *w) {
  pn_shape out = pn_shape4(in.dim[0], channels, 0, 0);
  for (int i = 0; i < 2; i++)
    out.dim[2 + i] =
        (in.dim[2 + i] + w->pad_before[i] + w->pad_after[i] - w->kernel[i]) / w->stride[i] + 1;
  return out;
}

/* Description of op k of a case, given its input. */
static inline pn_op_desc case_op(const op_case *c, int k, pn_shape in) {
  pn_op_desc op = {.kind = c->op[k], .id = 3 + k, .in = in, .out = in, .rate = c->rate};

  op.norm = c->norm;
  op.pad_counts = c->pad_counts;
  op.n_more = op.kind == PN_OP_ADD ? 1 : k == 0 ? c->n_more : 0;
  for (int i = 0; i < op.n_more; i++) {
    op.more[i] = in;
    if (op.kind == PN_OP_CONCAT) op.out.dim[1] += op.more[i].dim[1] = c->more[i];
  }

  if (op.kind == PN_OP_CONV) {
    op.window = c->window;
    op.out = window_shape(in, c->filters, &c->window);
    op.weight = pn_shape4(c->filters, in.dim[1], c->window.kernel[0], c->window.kernel[1]);
    op.bias = true;
  } else if (op.kind == PN_OP_DENSE) {
    op.out = pn_shape2(in.dim[0], c->filters);
    op.weight = pn_shape2(c->filters, pn_shape_count(in) / in.dim[0]);
    op.bias = true;
  } else if (op.kind == PN_OP_GAP) {
    op.out = pn_shape2(in.dim[0], in.dim[1]);
  } else if (op.kind == PN_OP_UPSAMPLE) {
    op.out = pn_shape4(in.dim[0], in.dim[1], 2 * in.dim[2], 2 * in.dim[3]);
  } else if (op.kind == PN_OP_MAXPOOL || op.kind == PN_OP_AVGPOOL || op.kind == PN_OP_ZEROPAD) {
    op.window = c->pool;
    op.out = window_shape(in, in.dim[1], &c->pool);
  } else if (op.kind == PN_OP_BCE || op.kind == PN_OP_SOFTMAX_CE) {
    op.out = pn_shape1(in.dim[0]);
  }
  return op;
}

static inline void case_ops(const op_case *c, pn_op_desc op[CASE_CHAIN]) {
  pn_shape in = c->in;
  for (int k = 0; k < c->n_ops; k++) {
    op[k] = case_op(c, k, in);
    in = op[k].out;
  }
}

#endif
