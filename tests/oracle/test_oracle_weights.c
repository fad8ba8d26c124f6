/* test_oracle_weights.c -- weight files made by the real safetensors and h5py
 * (tools/make_weights.py) give the values they were made from; broken safetensors are refused by
 * name of the fault. */
#include "oracle_case.h"

#include "interop/initial.h"

#include <unistd.h>

static const char *file_of(const char *name, char path[512]) {
  const char *root = getenv("SOURCE_DIR");
  snprintf(path, 512, "%s/tests/oracle/%s", root ? root : "..", name);
  return path;
}

static void expect_param(pn_initial *x, const oracle *o, int param, double relative) {
  int64_t n = pn_shape_count(pn_graph_param(o->graph, param)->shape);
  float *want = malloc((size_t)n * sizeof *want), *got = calloc((size_t)n, sizeof *got);
  bool found = false;

  pn_graph_init_param(o->graph, param, o->seed, want);
  assert_int_equal(pn_initial_value(x, param, got, &found), PN_OK);
  assert_true(found);
  for (int64_t i = 0; i < n; i++)
    assert_true(fabs((double)(got[i] - want[i])) <= relative * fabs((double)want[i]) + 1e-8);
  free(want);
  free(got);
}

static void expect_all(const char *name, const char *format) {
  oracle o;
  pn_initial *x = NULL;
  char path[512];
  json_t *j;

  oracle_open(&o, "cnn_softmax");
  if (pn_initial_open(file_of(name, path), o.graph,
                      (pn_initial_rules){.may_miss = PN_MAY_MISS_NONE}, &x) != PN_OK)
    fail_msg("%s", pn_last_error());
  for (int i = 0; i < pn_graph_n_params(o.graph); i++) expect_param(x, &o, i, 1e-7);
  j = pn_initial_json(x);
  assert_string_equal(json_string_value(field(j, "format")), format);
  assert_int_equal(json_integer_value(field(j, "matched")), pn_graph_n_params(o.graph));
  assert_int_equal(json_array_size(field(j, "unused")), 0);
  json_decref(j);
  pn_initial_close(x);
  oracle_close(&o);
}

static void test_whole_files(void **state) {
  (void)state;
  expect_all("weights_f32.safetensors", "safetensors");
  expect_all("weights_fixed.h5", "Keras HDF5");
  expect_all("weights_position.h5", "Keras HDF5");
}

/* Another head, half precision, an unknown tensor: what does not fit is told, the rest is taken. */
static void test_partial_file(void **state) {
  oracle o;
  pn_initial *x = NULL;
  char path[512];
  json_t *j, *kept;
  (void)state;

  oracle_open(&o, "cnn_softmax");
  file_of("weights_mixed.safetensors", path);
  assert_int_equal(
      pn_initial_open(path, o.graph, (pn_initial_rules){.may_miss = PN_MAY_MISS_NONE}, &x),
      PN_ERR_FORMAT);
  assert_non_null(
      strstr(pn_last_error(), "fc2.weight: shape 10x12 in the file, 4x12 in the model"));
  assert_int_equal(
      pn_initial_open(path, o.graph, (pn_initial_rules){.may_miss = PN_MAY_MISS_HEAD}, &x), PN_OK);
  for (int i = 0; i < 6; i++) expect_param(x, &o, i, i == 2 ? 0x1p-8 : i == 4 ? 0x1p-11 : 1e-7);
  j = pn_initial_json(x);
  kept = json_object_get(j, "initialised");
  assert_int_equal(json_integer_value(field(j, "matched")), 6);
  assert_int_equal(json_array_size(kept), 2);
  assert_string_equal(json_string_value(field(json_array_get(kept, 1), "why")), "not in the file");
  assert_string_equal(json_string_value(json_array_get(field(j, "unused"), 0)),
                      "bn.num_batches_tracked");
  json_decref(j);
  pn_initial_close(x);
  oracle_close(&o);
}

static void test_nothing_fits(void **state) {
  pn_model_config c;
  pn_graph *g;
  pn_initial *x;
  char path[512];
  (void)state;

  pn_model_defaults(&c);
  assert_int_equal(pn_model_build("custom_cnn", &c, &g), PN_OK);
  assert_int_equal(pn_initial_open(file_of("weights_f32.safetensors", path), g,
                                   (pn_initial_rules){.may_miss = PN_MAY_MISS_ANY}, &x),
                   PN_ERR_FORMAT);
  assert_non_null(strstr(pn_last_error(), "none of its 8 tensors fits model custom_cnn"));
  assert_int_equal(
      pn_initial_open("/nowhere.h5", g, (pn_initial_rules){.may_miss = PN_MAY_MISS_ANY}, &x),
      PN_ERR_IO);
  assert_int_equal(pn_initial_open(file_of("cnn_softmax.json", path), g,
                                   (pn_initial_rules){.may_miss = PN_MAY_MISS_ANY}, &x),
                   PN_ERR_FORMAT);
  assert_non_null(strstr(pn_last_error(), "safetensors, Keras HDF5"));
  pn_graph_destroy(g);
}

/* Header text and data bytes -> the open's message. */
static void expect_fault(const char *header, size_t data, const char *message) {
  char path[] = "/tmp/pn_weights_XXXXXX";
  int fd = mkstemp(path);
  uint64_t n = strlen(header);
  pn_tensor_file *f = NULL;
  char zeros[64] = {0};
  pn_status st;

  assert_true(fd >= 0 && write(fd, &n, 8) == 8 && write(fd, header, n) == (ssize_t)n &&
              write(fd, zeros, data) == (ssize_t)data);
  close(fd);
  st = pn_tensor_file_open(path, &f);
  unlink(path);
  if (!message) {
    assert_int_equal(st, PN_OK);
    pn_tensor_file_close(f);
    return;
  }
  assert_int_equal(st, PN_ERR_FORMAT);
  assert_null(f);
  if (!strstr(pn_last_error(), message)) fail_msg("%s\nexpected: %s", pn_last_error(), message);
}

#define T(name, type, shape, from, to)                                                             \
  "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"

static void test_broken_safetensors(void **state) {
  (void)state;
  expect_fault("{" T("a", "F32", "[2,3]", "0", "24") "}", 24, NULL);
  expect_fault("{" T("a", "F32", "[]", "0", "4") "," T("b", "F32", "[0]", "4", "4") "}", 4, NULL);
  expect_fault("{" T("a", "F32", "[2,3]", "0", "24") "}", 20, "data_offsets outside");
  expect_fault("{" T("a", "F32", "[2,3]", "0", "20") "}", 24, "20 bytes for 6 elements");
  expect_fault("{" T("a", "F32", "[2]", "0", "8") "}", 12, "accounts for 8");
  expect_fault("{" T("a", "F32", "[2]", "4", "12") "}", 12, "hole or overlap at byte 0");
  expect_fault("{" T("a", "F32", "[2]", "0", "8") "," T("b", "F32", "[2]", "4", "12") "}", 12,
               "hole or overlap at byte 8");
  expect_fault("{" T("a", "F32", "[2]", "0", "8") "," T("a", "F32", "[2]", "8", "16") "}", 16,
               "duplicate");
  expect_fault("{" T("a", "F99", "[2]", "0", "8") "}", 8, "unknown dtype 'F99'");
  expect_fault("{" T("a", "F32", "[-2]", "0", "8") "}", 8, "bad shape");
  expect_fault("{" T("a", "F32", "[4294967296,4294967296]", "0", "8") "}", 8, "bad shape");
  expect_fault("{\"a\":5}", 8, "unknown dtype");
  expect_fault("{\"a\":", 8, "header");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_whole_files), cmocka_unit_test(test_partial_file),
      cmocka_unit_test(test_nothing_fits), cmocka_unit_test(test_broken_safetensors)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
