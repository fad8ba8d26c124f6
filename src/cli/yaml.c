/* yaml.c -- libyaml documents to jansson values, with the line of every value. */
#include "cli/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { PATH_BYTES = 512, MAX_DEPTH = 32, MAX_VALUES = 100000 };

/* One conversion: what is being read and how much of it there was. */
typedef struct {
  const char *file; /* borrowed */
  yaml_document_t *doc;
  json_t *lines; /* borrowed */
  int n_values;  /* an alias counts each time: a small file cannot grow without end */
} reader;

static pn_status convert(reader *r, yaml_node_t *node, const char *path, int depth, json_t **out);

static int line_of(const yaml_node_t *n) {
  return (int)n->start_mark.line + 1;
}

static bool is_decimal_int(const char *s) {
  const char *p = s + (*s == '-');
  if (*p < '0' || *p > '9' || (p[0] == '0' && p[1])) return false;
  while (*p >= '0' && *p <= '9') p++;
  return *p == '\0';
}

static bool is_real(const char *s, double *x) {
  char *end;
  if (strspn(s, "0123456789+-.eE") != strlen(s) || !strpbrk(s, "0123456789")) return false;
  *x = strtod(s, &end);
  return *end == '\0' && isfinite(*x);
}

/* Plain scalars by the core schema of YAML 1.2: `no` and 0123 stay text. */
static json_t *scalar(const yaml_node_t *n) {
  const char *s = (const char *)n->data.scalar.value;
  double x;

  if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return json_string(s);
  if (!*s || strcmp(s, "~") == 0 || strcmp(s, "null") == 0) return json_null();
  if (strcmp(s, "true") == 0 || strcmp(s, "false") == 0) return json_boolean(*s == 't');
  errno = 0;
  if (is_decimal_int(s)) {
    long long i = strtoll(s, NULL, 10);
    return errno ? json_string(s) : json_integer(i);
  }
  return strpbrk(s, ".eE") && is_real(s, &x) ? json_real(x) : json_string(s);
}

static pn_status convert_list(reader *r, yaml_node_t *node, const char *path, int depth,
                              json_t **out) {
  pn_status st = PN_OK;
  json_t *list = json_array();

  for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
       i++) {
    char at[PATH_BYTES];
    json_t *v = NULL;
    snprintf(at, sizeof at, "%s[%d]", path, (int)(i - node->data.sequence.items.start));
    PN_TRY(convert(r, yaml_document_get_node(r->doc, *i), at, depth + 1, &v));
    json_array_append_new(list, v);
  }
  *out = list;
  list = NULL;
done:
  json_decref(list);
  return st;
}

static pn_status convert_pair(reader *r, const yaml_node_pair_t *pair, const char *path, int depth,
                              json_t *map) {
  yaml_node_t *key = yaml_document_get_node(r->doc, pair->key);
  yaml_node_t *value = yaml_document_get_node(r->doc, pair->value);
  const char *name = (const char *)key->data.scalar.value;
  char at[PATH_BYTES];
  json_t *v = NULL;
  pn_status st;

  if (key->type != YAML_SCALAR_NODE)
    return PN_FAIL(PN_ERR_ARG, "%s:%d: a key must be a plain word", r->file, line_of(key));
  if (json_object_get(map, name))
    return PN_FAIL(PN_ERR_ARG, "%s:%d: key '%s' is given twice", r->file, line_of(key), name);
  if (snprintf(at, sizeof at, "%s%s%s", path, *path ? "." : "", name) >= (int)sizeof at)
    return PN_FAIL(PN_ERR_ARG, "%s:%d: key is too long", r->file, line_of(key));
  st = convert(r, value, at, depth + 1, &v);
  if (st != PN_OK) return st;
  json_object_set_new(r->lines, at, json_integer(line_of(key)));
  if (json_object_set_new(map, name, v) != 0)
    return PN_FAIL(PN_ERR_ARG, "%s:%d: key or value is not UTF-8", r->file, line_of(key));
  return PN_OK;
}

static pn_status convert_map(reader *r, yaml_node_t *node, const char *path, int depth,
                             json_t **out) {
  pn_status st = PN_OK;
  json_t *map = json_object();

  for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++)
    PN_TRY(convert_pair(r, p, path, depth, map));
  *out = map;
  map = NULL;
done:
  json_decref(map);
  return st;
}

static pn_status convert(reader *r, yaml_node_t *node, const char *path, int depth, json_t **out) {
  if (depth > MAX_DEPTH || ++r->n_values > MAX_VALUES)
    return PN_FAIL(PN_ERR_ARG, "%s:%d: too many nested values", r->file, line_of(node));
  if (node->type == YAML_SEQUENCE_NODE) return convert_list(r, node, path, depth, out);
  if (node->type == YAML_MAPPING_NODE) return convert_map(r, node, path, depth, out);
  *out = scalar(node);
  if (!*out) return PN_FAIL(PN_ERR_ARG, "%s:%d: text is not UTF-8", r->file, line_of(node));
  return PN_OK;
}

static pn_status syntax_error(const yaml_parser_t *p, const char *file) {
  return PN_FAIL(PN_ERR_ARG, "%s:%d: not valid YAML: %s%s%s", file, (int)p->problem_mark.line + 1,
                 p->problem ? p->problem : "unreadable", p->context ? ", " : "",
                 p->context ? p->context : "");
}

/* A second document would be read by nobody: an error. */
static pn_status expect_end(yaml_parser_t *p, const char *file) {
  yaml_document_t next;
  pn_status st = PN_OK;
  yaml_node_t *root;

  if (!yaml_parser_load(p, &next)) return syntax_error(p, file);
  root = yaml_document_get_root_node(&next);
  if (root)
    st = PN_FAIL(PN_ERR_ARG, "%s:%d: a second YAML document; expected one", file, line_of(root));
  yaml_document_delete(&next);
  return st;
}

static pn_status load_stream(yaml_parser_t *p, const char *file, json_t **out, json_t *lines) {
  pn_status st = PN_OK;
  yaml_document_t doc;
  reader r = {.file = file, .doc = &doc, .lines = lines};
  json_t *value = NULL;
  yaml_node_t *root;

  if (!yaml_parser_load(p, &doc)) return syntax_error(p, file);
  root = yaml_document_get_root_node(&doc);
  if (root) {
    PN_TRY(convert(&r, root, "", 0, &value));
    PN_TRY(expect_end(p, file));
  }
  *out = value && !json_is_null(value) ? json_incref(value) : json_object();
done:
  json_decref(value);
  yaml_document_delete(&doc);
  return st;
}

pn_status pn_yaml_load_lines(const char *path, json_t **out, json_t **lines) {
  pn_status st = PN_OK;
  yaml_parser_t parser;
  bool made = false;
  json_t *marks = json_object();
  FILE *f = fopen(path, "rb");

  *out = *lines = NULL;
  if (!f) {
    st = PN_FAIL(PN_ERR_ARG, "cannot open %s: %s", path, strerror(errno));
    goto done;
  }
  made = marks && yaml_parser_initialize(&parser);
  if (!made) {
    st = PN_FAIL(PN_ERR_NOMEM, "%s: out of memory", path);
    goto done;
  }
  yaml_parser_set_input_file(&parser, f);
  PN_TRY(load_stream(&parser, path, out, marks));
  *lines = marks;
  marks = NULL;
done:
  if (made) yaml_parser_delete(&parser);
  if (f) fclose(f);
  json_decref(marks);
  return st;
}

pn_status pn_yaml_load(const char *path, json_t **out) {
  json_t *lines = NULL;
  pn_status st = pn_yaml_load_lines(path, out, &lines);
  json_decref(lines);
  return st;
}

const char *pn_yaml_library(void) {
  return yaml_get_version_string();
}
