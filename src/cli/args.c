/* args.c -- parse argv against the command table and the option table. */
#include "cli/args.h"

#include "cli/nearest.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = sizeof((struct pn_setting *)0)->key };

static const struct flag {
  const char *name, *brief;
  size_t at;
} flags[] = {
    {"--json", "", offsetof(pn_args, json)},
    {"--quiet", "-q", offsetof(pn_args, quiet)},
    {"--help", "-h", offsetof(pn_args, help)},
    {"--version", "-V", offsetof(pn_args, version)},
};
enum { N_FLAGS = sizeof flags / sizeof *flags };

static bool take_flag(const char *word, pn_args *a) {
  for (int i = 0; i < N_FLAGS; i++)
    if (strcmp(word, flags[i].name) == 0 || strcmp(word, flags[i].brief) == 0) {
      *(bool *)((char *)a + flags[i].at) = true;
      return true;
    }
  return false;
}

/* Flags first: an error in another word must know of --json. */
static void scan_flags(int argc, char **argv, pn_args *a) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (argv[i][0] == '-') take_flag(argv[i], a);
}

static pn_status unknown_command(const char *word) {
  pn_nearest near = {.word = word};
  int n;
  const pn_command *c = pn_command_table(&n);

  for (int i = 0; i < n; i++) pn_nearest_offer(&near, c[i].name);
  if (near.best)
    return PN_FAIL(PN_ERR_ARG, "unknown command '%s'; did you mean '%s'?", word, near.best);
  return PN_FAIL(PN_ERR_ARG, "unknown command '%s'; `pneuma --help` lists them", word);
}

static const char *last_part(const char *key) {
  const char *dot = strrchr(key, '.');
  return dot ? dot + 1 : key;
}

/* The only row with one of `bits` that ends in .name; *n: how many there are, listed in `all`. */
static const pn_option *by_last_part(const char *name, unsigned bits, int *n, char *all,
                                     size_t all_bytes) {
  const pn_option *found = NULL;
  int rows;
  const pn_option *row = pn_option_table(&rows);

  *n = 0;
  all[0] = '\0';
  for (int i = 0; i < rows; i++) {
    size_t used = strlen(all);
    if (!(row[i].commands & bits) || strcmp(last_part(row[i].key), name) != 0) continue;
    snprintf(all + used, all_bytes - used, "%s%s", used ? ", " : "", row[i].key);
    found = &row[i];
    ++*n;
  }
  return found;
}

/* --data means data.path, --model means model.name. */
static const pn_option *by_section(const char *name, unsigned bits) {
  static const char *const leaf[] = {"path", "name"};
  char key[KEY_BYTES + 8];

  for (int i = 0; i < 2; i++) {
    const pn_option *row;
    snprintf(key, sizeof key, "%s.%s", name, leaf[i]);
    row = pn_option_find(key);
    if (row && (row->commands & bits)) return row;
  }
  return NULL;
}

static pn_status unknown_option(const pn_command *c, const char *name) {
  pn_nearest near = {.word = name};
  int rows;
  const pn_option *row = pn_option_table(&rows);
  char hint[KEY_BYTES + 24] = "";

  for (int i = 0; i < rows; i++)
    if (row[i].commands & c->accepts) pn_nearest_offer(&near, last_part(row[i].key));
  for (int i = 0; i < N_FLAGS; i++) pn_nearest_offer(&near, flags[i].name + 2);
  if (near.best) snprintf(hint, sizeof hint, "did you mean '--%s'?", near.best);
  return PN_FAIL(PN_ERR_ARG, "unknown option '--%s' of `pneuma %s`; %s%s", name, c->name, hint,
                 near.best ? "" : "its --help lists them");
}

static pn_status resolve(const pn_command *c, const char *name, char key[KEY_BYTES]) {
  char all[256];
  int n;
  const pn_option *row;

  if (strchr(name, '.')) {
    snprintf(key, KEY_BYTES, "%s", name);
    return PN_OK;
  }
  row = by_last_part(name, c->own, &n, all, sizeof all);
  if (n == 0) row = by_last_part(name, c->accepts, &n, all, sizeof all);
  if (n == 0 && (row = by_section(name, c->accepts))) n = 1;
  if (n == 0) return unknown_option(c, name);
  if (n > 1) return PN_FAIL(PN_ERR_ARG, "--%s may mean %s: write the whole key", name, all);
  snprintf(key, KEY_BYTES, "%s", row->key);
  return PN_OK;
}

static void add_setting(pn_args *a, const char *key, const char *value) {
  struct pn_setting *s = &a->set[a->n_sets++];
  snprintf(s->key, sizeof s->key, "%s", key);
  s->value = value;
}

static bool is_switch(const char *key) {
  const pn_option *row = pn_option_find(key);
  return row && row->type == PN_T_BOOL;
}

/* argv[*i] is --name or --name=value; takes the next word as value where one is needed. */
static pn_status take_option(pn_args *a, int argc, char **argv, int *i) {
  char name[KEY_BYTES], key[KEY_BYTES];
  const char *word = argv[*i] + 2, *equals = strchr(word, '=');
  size_t n = equals ? (size_t)(equals - word) : strlen(word);
  pn_status st;

  if (n >= sizeof name) return PN_FAIL(PN_ERR_ARG, "option name is too long: %s", argv[*i]);
  memcpy(name, word, n);
  name[n] = '\0';
  for (char *p = name; *p; p++)
    if (*p == '-') *p = '_';
  st = resolve(a->command, name, key);
  if (st != PN_OK) return st;
  if (equals)
    add_setting(a, key, equals + 1);
  else if (is_switch(key))
    add_setting(a, key, "true");
  else if (*i + 1 < argc)
    add_setting(a, key, argv[++*i]);
  else
    return PN_FAIL(PN_ERR_ARG, "%s needs a value: %s VALUE", argv[*i], argv[*i]);
  return PN_OK;
}

/* "train.batch=64": lower-case words and dots before '='. Returns false for anything else. */
static bool take_assignment(pn_args *a, const char *word) {
  char key[KEY_BYTES];
  size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_.");

  if (n == 0 || n >= sizeof key || word[n] != '=') return false;
  memcpy(key, word, n);
  key[n] = '\0';
  add_setting(a, key, word + n + 1);
  return true;
}

static pn_status take_words(int argc, char **argv, int first, pn_args *a) {
  pn_status st;
  for (int i = first; i < argc; i++) {
    pn_args ignored;
    if (strcmp(argv[i], "--") == 0) {
      for (i++; i < argc; i++) a->args[a->n_args++] = argv[i];
    } else if (take_flag(argv[i], &ignored)) {
      continue;
    } else if (strncmp(argv[i], "--", 2) == 0) {
      if ((st = take_option(a, argc, argv, &i)) != PN_OK) return st;
    } else if (argv[i][0] == '-' && argv[i][1]) {
      return PN_FAIL(PN_ERR_ARG, "unknown option '%s'; `pneuma %s --help` lists them", argv[i],
                     a->command->name);
    } else if (!take_assignment(a, argv[i])) {
      a->args[a->n_args++] = argv[i];
    }
  }
  return PN_OK;
}

static pn_status check_count(const pn_args *a) {
  const pn_command *c = a->command;
  if (a->help || (a->n_args >= c->min_args && a->n_args <= c->max_args)) return PN_OK;
  if (a->n_args > c->max_args)
    return PN_FAIL(PN_ERR_ARG, "unexpected argument '%s'; usage: pneuma %s %s",
                   a->args[c->max_args], c->name, c->args);
  return PN_FAIL(PN_ERR_ARG, "missing argument; usage: pneuma %s %s", c->name, c->args);
}

pn_status pn_args_parse(int argc, char **argv, pn_args *out) {
  pn_status st = PN_OK;
  int i = 1;
  pn_args ignored;

  memset(out, 0, sizeof *out);
  scan_flags(argc, argv, out);
  while (i < argc && take_flag(argv[i], &ignored)) i++;
  if (i >= argc) return PN_OK;
  out->command = pn_command_find(argv[i]);
  if (!out->command) return unknown_command(argv[i]);
  out->args = calloc((size_t)argc, sizeof *out->args);
  out->set = calloc((size_t)argc, sizeof *out->set);
  if (!out->args || !out->set) return PN_FAIL(PN_ERR_NOMEM, "command line: out of memory");
  PN_TRY(take_words(argc, argv, i + 1, out));
  PN_TRY(check_count(out));
done:
  return st;
}

void pn_args_free(pn_args *a) {
  free(a->args);
  free(a->set);
  memset(a, 0, sizeof *a);
}
