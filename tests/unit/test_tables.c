/* test_tables.c -- one table as text, Markdown and CSV: every byte of small examples. */
#include "report/tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const pn_table_column columns[] = {
    {"row", "", false}, {"time", "ms", true}, {"note", "", false}};

static pn_table *make(void) {
  pn_table *t = NULL;
  const char *a[] = {"serial", "12.5", NULL}, *b[] = {"ddp-2 µ", "7", "a|b"};
  assert_int_equal(pn_table_create(columns, 3, &t), PN_OK);
  assert_int_equal(pn_table_add(t, a), PN_OK);
  assert_int_equal(pn_table_add(t, b), PN_OK);
  assert_int_equal(pn_table_rows(t), 2);
  return t;
}

static void text_is_aligned(void **state) {
  pn_table *t = make();
  char *s = NULL;
  (void)state;
  assert_int_equal(pn_table_text(t, &s), PN_OK);
  assert_string_equal(s, "row      time  note\n"
                         "           ms\n"
                         "-------  ----  ----\n"
                         "serial   12.5\n"
                         "ddp-2 µ     7  a|b\n");
  free(s);
  pn_table_destroy(t);
}

static void empty_cells_keep_the_columns(void **state) {
  const pn_table_column c[] = {{"a", "", true}, {"bb", "", false}, {"c", "", true}};
  const char *r1[] = {"10", "", "3"}, *r2[] = {"", "x", "400"};
  pn_table *t = NULL;
  char *s = NULL;
  (void)state;
  assert_int_equal(pn_table_create(c, 3, &t), PN_OK);
  assert_int_equal(pn_table_add(t, r1), PN_OK);
  assert_int_equal(pn_table_add(t, r2), PN_OK);
  assert_int_equal(pn_table_text(t, &s), PN_OK);
  assert_string_equal(s, " a  bb    c\n"
                         "--  --  ---\n"
                         "10        3\n"
                         "    x   400\n");
  free(s);
  pn_table_destroy(t);
}

static void markdown_escapes_pipes(void **state) {
  pn_table *t = make();
  char *s = NULL;
  (void)state;
  assert_int_equal(pn_table_markdown(t, &s), PN_OK);
  assert_string_equal(s, "| row | time (ms) | note |\n"
                         "| --- | ---: | --- |\n"
                         "| serial | 12.5 |  |\n"
                         "| ddp-2 µ | 7 | a\\|b |\n");
  free(s);
  pn_table_destroy(t);
}

static void csv_quotes_where_needed(void **state) {
  const char *hard[] = {"say \"hi\"", "1,5", "two\nlines"};
  pn_table *t = make();
  char *s = NULL;
  (void)state;
  assert_int_equal(pn_table_add(t, hard), PN_OK);
  assert_int_equal(pn_table_csv(t, &s), PN_OK);
  assert_string_equal(s, "row,time_ms,note\n"
                         "serial,12.5,\n"
                         "ddp-2 µ,7,a|b\n"
                         "\"say \"\"hi\"\"\",\"1,5\",\"two\nlines\"\n");
  free(s);
  pn_table_destroy(t);
}

static void many_rows_and_no_column(void **state) {
  pn_table *t = NULL;
  char *s = NULL;
  const char *cells[] = {"x", "1", ""};
  size_t lines = 0;
  (void)state;
  assert_int_equal(pn_table_create(columns, 0, &t), PN_ERR_ARG);
  assert_null(t);
  assert_int_equal(pn_table_create(columns, 3, &t), PN_OK);
  for (int i = 0; i < 100; i++) assert_int_equal(pn_table_add(t, cells), PN_OK);
  assert_int_equal(pn_table_csv(t, &s), PN_OK);
  for (const char *p = s; *p; p++) lines += *p == '\n';
  assert_int_equal(lines, 101);
  free(s);
  pn_table_destroy(t);
  pn_table_destroy(NULL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(text_is_aligned), cmocka_unit_test(empty_cells_keep_the_columns),
      cmocka_unit_test(markdown_escapes_pipes), cmocka_unit_test(csv_quotes_where_needed),
      cmocka_unit_test(many_rows_and_no_column)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
