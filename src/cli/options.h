/* options.h -- every option of the program is one row of one table; YAML and key=value set the same
 * keys. */
#ifndef PN_CLI_OPTIONS_H
#define PN_CLI_OPTIONS_H

#include "base/status.h"

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

typedef enum { PN_T_INT, PN_T_FLOAT, PN_T_BOOL, PN_T_TEXT, PN_T_CHOICE, PN_T_SIZE } pn_option_type;

/* Commands an option belongs to, as bits. */
enum {
  PN_CMD_INFO = 1,
  PN_CMD_SYNTH = 2,
  PN_CMD_INGEST = 4,
  PN_CMD_TRAIN = 8,
  PN_CMD_EVAL = 16,
  PN_CMD_STUDY = 32,
  PN_CMD_PREVIEW = 1 << 10,
  PN_CMD_BENCH = 1 << 11,
  PN_CMD_VERIFY = 1 << 13,
  PN_CMD_PREDICT = 1 << 14,
  PN_CMD_RUN = 1 << 12 /* of `train`, but of no row of a study: what a run's folder is for */
};

typedef struct {
  const char *key; /* "train.batch" */
  pn_option_type type;
  double lo, hi;       /* range of a number, inclusive */
  const char *dflt;    /* as text; "auto" is allowed where help says so (int option: value 0) */
  const char *choices; /* CHOICE: "sgd|adam" */
  const char *unit;    /* "images", "s", ""; shown in help */
  const char *help;
  unsigned commands;
} pn_option;

const pn_option *pn_option_table(int *count);
const pn_option *pn_option_find(const char *key); /* NULL: there is none */
/* "sgd|adam"; where the row says "@models" or "@strategies", the names of that table. */
void pn_option_choices(const pn_option *row, char *out, size_t out_bytes);

/* Values of one command's options, with their origin ("default", "FILE:LINE", "command line"). */
typedef struct pn_options pn_options;
/* command: one or more bits; a key is accepted when its row has one of them. */
pn_status pn_options_create(unsigned command, pn_options **out);
pn_status pn_options_copy(const pn_options *o, pn_options **out);
void pn_options_destroy(pn_options *o);
/* Errors (ARG): unknown key (names the nearest), value of wrong type or out of range, key of
 * another command, key given twice in one file. */
pn_status pn_options_set(pn_options *o, const char *key, const char *value, const char *origin);
/* Of the section `study` only scalars are options; its lists and mappings belong to cmd_study. */
pn_status pn_options_load_yaml(pn_options *o, const char *path);
/* As above from a value: nested ({"train": {"batch": 32}}) or dotted keys; one origin for all. */
pn_status pn_options_load_json(pn_options *o, const json_t *doc, const char *origin);

/* Getters of keys of the table: a wrong key or type is a bug of ours (assert). */
int64_t pn_options_int(const pn_options *o, const char *key);
double pn_options_float(const pn_options *o, const char *key);
bool pn_options_bool(const pn_options *o, const char *key);
const char *pn_options_text(const pn_options *o, const char *key);         /* borrowed */
void pn_options_size(const pn_options *o, const char *key, int64_t hw[2]); /* "128" or "128x96" */
bool pn_options_given(const pn_options *o, const char *key);               /* not the default */
const char *pn_options_origin(const pn_options *o, const char *key);       /* borrowed */

json_t *
pn_options_json(const pn_options *o); /* {key: {"value": ..., "origin": ...}}; new reference */
/* One line for each option that was given, with its origin, and how many are at their default. */
void pn_options_print(const pn_options *o, FILE *f);

#endif
